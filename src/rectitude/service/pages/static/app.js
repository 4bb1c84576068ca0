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

/* What is not there within 400 ms has the shape of what comes, and says what is done and for how long. */
const waits = JSON.parse(document.body.dataset.waits || "{}");
let waiting = 0;
const wait = (address) => {
  const words = waits[`/${address.pathname.split("/")[1]}`];
  const main = document.querySelector("main");
  if (!words || waiting) return;
  const began = Date.now();
  waiting = setInterval(() => {
    const line = main.querySelector(".loading p");
    const taken = Math.round((Date.now() - began) / 1000);
    if (line) { line.querySelector(".n").textContent = taken ? `${taken} s` : ""; return; }
    const shape = document.createElement("div");
    shape.className = "loading";
    shape.innerHTML = '<p role="status"><span></span> <span class="n" aria-hidden="true"></span></p><div class="bones shown" aria-hidden="true"><i></i><i></i><i></i><i></i><i></i><i></i></div>';
    shape.querySelector("span").textContent = words;
    main.setAttribute("aria-busy", "true");
    const header = main.querySelector(":scope > header");
    if (header) header.after(shape); else main.prepend(shape);
  }, 400);
};
const waitNoMore = () => {
  clearInterval(waiting);
  waiting = 0;
  document.querySelector("main").removeAttribute("aria-busy");
  document.querySelectorAll("main .loading").forEach((shape) => shape.remove());
};
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.href);
  const here = to.pathname === window.location.pathname && to.search === window.location.search;
  if (to.origin === window.location.origin && !link.hasAttribute("download") && !(here && to.hash)) wait(to);
});
document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented && !event.target.hasAttribute("hx-post")) wait(new URL(event.target.action));
});
window.addEventListener("pageshow", waitNoMore);

/* A part that could not be fetched says so where it is seen; the next that can takes it away. */
const trouble = document.getElementById("trouble");
document.addEventListener("htmx:sendError", () => {
  trouble.innerHTML = '<div class="note bad" role="alert"><p><strong>The service cannot be reached.</strong> What was kept before is safe. Try again in a moment.</p></div>';
});
document.addEventListener("htmx:beforeSwap", (event) => { if (!event.detail.isError) trouble.replaceChildren(); });

/* The share of a history, said while it is chosen. */
ready((root) => each(root, "input[data-share]", (input) => {
  const all = Number(input.dataset.share);
  const says = document.getElementById(input.getAttribute("aria-describedby"));
  const shown = document.querySelector(`output[for="${input.id}"] .n`);
  const written = (value) => new Intl.NumberFormat(navigator.languages).format(value);
  const tell = () => {
    const percent = Number(input.value);
    input.setAttribute("aria-valuetext", `${percent} %`);
    shown.textContent = percent;
    return percent ? Math.max(Math.floor((all * percent + 50) / 100), 1) : 0;
  };
  tell();
  input.addEventListener("input", () => { says.textContent = `${written(tell())} of ${written(all)} would be used, the newest.`; });
}));

/* On a phone what was, which is long, makes way for what is answered. */
ready((root) => each(root, "[data-closed-on-a-phone]", (details) => {
  if (window.matchMedia("(max-width: 720px)").matches) details.open = false;
}));

/* What acts at once has a button only for readers without a script. */
ready((root) => each(root, "[data-without-script]", (button) => { button.hidden = true; }));
ready((root) => each(root, "form[data-auto]", (form) => {
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
  const take = (option) => {
    const to = new URL(option.dataset.href, window.location.href);
    wait(to);
    window.location.assign(to);
  };
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
