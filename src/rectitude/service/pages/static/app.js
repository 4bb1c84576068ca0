/* What the pages do more conveniently with a script; without it every form and link still works. */
"use strict";

/* Runs for the page and for each part that is put into it later; htmx tells of the page itself too. */
const ready = (run) => {
  run(document);
  document.addEventListener("htmx:load", (event) => { if (event.detail.elt !== document.body) run(event.detail.elt); });
};
const each = (root, selector, run) => {
  if (root.matches && root.matches(selector)) run(root);
  root.querySelectorAll(selector).forEach(run);
};

/* Light and dark: the choice is kept in a cookie the server reads, so that no page flashes. */
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || button.name !== "theme") return;
  event.preventDefault();
  document.documentElement.dataset.theme = button.value;
  document.cookie = `theme=${button.value};path=/;max-age=31536000;samesite=lax`;
});

/* Menus close on Escape and when something else is clicked. */
document.addEventListener("click", (event) => {
  document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});

/* Times and numbers as the reader writes them. */
const parts = new Intl.NumberFormat(navigator.languages).formatToParts(12345.6);
const sign = (type) => (parts.find((part) => part.type === type) || { value: "" }).value;
const group = sign("group"), point = sign("decimal");
const figure = /(?<![\w.,])\d{1,3}(?:,\d{3})*(?:\.\d+)?(?![\w.,]*\d)/g;
const local = (text) => text.replace(figure, (found) => found.replace(/[,.]/g, (mark) => (mark === "," ? group : point)));
ready((root) => {
  each(root, "time[datetime]", (time) => {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) return;
    const style = time.dataset.style === "day" ? { dateStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
    time.textContent = new Intl.DateTimeFormat(navigator.languages, style).format(at);
    time.title = time.dateTime;
  });
  if (group === "," && point === ".") return;
  each(root, ".n, .figures, .stats dd, .chart text, data", (place) => {
    const walk = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) walk.currentNode.data = local(walk.currentNode.data);
  });
});

/* Commands that can be copied. */
ready((root) => each(root, "[data-copy]", (button) => {
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}));

/* Selects that act at once; their button is for readers without a script. */
ready((root) => each(root, "form[data-auto]", (form) => {
  form.querySelectorAll("[data-without-script]").forEach((button) => { button.hidden = true; });
  form.addEventListener("change", () => form.requestSubmit());
}));

/* Search with suggestions: the combobox of the ARIA practices, a list that is moved through with the arrows. */
ready((root) => each(root, "[role=combobox]", (input) => {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  const options = () => [...list.querySelectorAll("[role=option]")];
  let active = -1;
  const show = (open) => {
    list.hidden = !open;
    input.setAttribute("aria-expanded", String(open));
    if (!open) choose(-1);
  };
  const choose = (index) => {
    const all = options();
    active = all.length ? (index + all.length + 1) % (all.length + 1) : -1;
    if (index === -1 || active === all.length) active = -1;
    all.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    if (active < 0) { input.removeAttribute("aria-activedescendant"); return; }
    input.setAttribute("aria-activedescendant", all[active].id);
    all[active].scrollIntoView({ block: "nearest" });
  };
  const take = (option) => { window.location.assign(option.dataset.href); };
  list.addEventListener("htmx:afterSwap", () => { active = -1; show(document.activeElement === input && list.childElementCount > 0); });
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) take(option);
  });
  input.addEventListener("blur", () => show(false));
  input.addEventListener("focus", () => { if (input.value && options().length) show(true); });
  input.addEventListener("keydown", (event) => {
    const open = !list.hidden && options().length > 0;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!options().length) return;
      event.preventDefault();
      show(true);
      choose(event.key === "ArrowDown" ? active + 1 : (active < 0 ? options().length : active) - 1);
    } else if (event.key === "Enter" && open && active >= 0) {
      event.preventDefault();
      take(options()[active]);
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      event.stopPropagation();
      show(false);
    }
  });
}));
