"""``rectitude keys``: who may ask the service what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rectitude.cli import options
from rectitude.cli.command import Verb, Verbs
from rectitude.cli.console import emit, grid, line, show, tell

if TYPE_CHECKING:
    from rectitude.service.store import Store

keys = typer.Typer(
    cls=Verbs,
    help="Keys of the service: made, listed, revoked.\n\nExample:\n"
    "  rectitude keys make shop --role write --store sqlite:///rectitude.db",
    no_args_is_help=True,
    rich_markup_mode=None,
)
StoreUrl = Annotated[
    str, typer.Option("--store", metavar="URL", help="sqlite:///FILE or postgresql://…, as given to 'serve'.")
]
_HERE = "sqlite:///rectitude.db"
_ACTOR = "command line"


@keys.command(cls=Verb)
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    role: Annotated[
        Literal["read", "write", "person", "admin"],
        typer.Option("--role", help="Read lists; write events and items too; one person's own; or everything."),
    ],
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Whom a person's key belongs to.")] = None,
    store: StoreUrl = _HERE,
    as_json: options.Json = False,
) -> None:
    """Make a key and print it, this once; the store keeps a digest only.

    The first key ends the use without keys on this machine: make one with --role admin first.

    Example:
      rectitude keys make shop --role write --store sqlite:///rectitude.db
    """
    from rectitude.service.rights.keeping import make_key, told_key

    with _open(store, make=True) as opened:
        key, text = make_key(opened, _ACTOR, name, role, user)
    if as_json:
        emit({**told_key(key), "key": text})
        return
    line(text)
    tell("This is the only time it is shown. Send it as: Authorization: Bearer KEY")


@keys.command("list", cls=Verb)
def list_keys(store: StoreUrl = _HERE, as_json: options.Json = False) -> None:
    """List the keys, without their secrets.

    Example:
      rectitude keys list --store sqlite:///rectitude.db
    """
    from rectitude.service.rights.keeping import told_key

    with _open(store) as opened:
        found = [told_key(key) for key in opened.keys.list()]
    if as_json:
        emit({"keys": found})
        return
    table = grid("id", "name", "role", "person", "made", "revoked", wrap=(1, 3))
    for key in found:
        table.add_row(*(str(key[name] or "") for name in ("id", "name", "role", "user", "made", "revoked")))
    show(table, "")


@keys.command(cls=Verb)
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The key's id, its part after rk_.")],
    store: StoreUrl = _HERE,
    as_json: options.Json = False,
) -> None:
    """Make a key open nothing; a running service follows within a second.

    Example:
      rectitude keys revoke 35b16addec90 --store sqlite:///rectitude.db
    """
    from rectitude.service.rights.keeping import revoke_key

    with _open(store) as opened:
        revoke_key(opened, _ACTOR, identifier)
    if as_json:
        emit({"revoked": identifier})
    else:
        tell(f"Revoked {identifier}")


def _open(url: str, *, make: bool = False) -> Store:
    from rectitude.core.errors import MissingExtraError

    try:
        from rectitude.service.store import Store
    except ImportError as error:
        raise MissingExtraError(str(error.name), "serve", "The service's store") from error
    return Store.open(url, make=make)
