"use strict";
// The page's own script. Whatever the runs hold reaches the page through textContent only.
(() => {
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  const grouped = (number) => number.toLocaleString("en");

  // ---- light, dark, or what the system says ----
  const themes = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  const remember = (name) => {
    try { localStorage.setItem("distill-report-theme", name); } catch { /* a file may not */ }
  };
  const remembered = () => {
    try { return localStorage.getItem("distill-report-theme"); } catch { return null; }
  };
  const showTheme = (name) => {
    root.dataset.theme = name;
    $("theme").textContent = themes[name];
  };
  showTheme(remembered() in themes ? remembered() : "auto");
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => {
    const names = Object.keys(themes);
    const next = names[(names.indexOf(root.dataset.theme) + 1) % names.length];
    remember(next);
    showTheme(next);
  });

  // ---- contents: folded where they do not fit beside the text; the section in view is marked ----
  const contents = document.querySelector(".contents details");
  const narrow = matchMedia("(max-width: 72rem)");
  const fold = () => { contents.open = !narrow.matches; };
  fold();
  narrow.addEventListener("change", fold);
  contents.addEventListener("click", (event) => {
    if (event.target.closest("a") && narrow.matches) contents.open = false;
  });
  const links = new Map([...contents.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
  const inView = new Set();
  const watcher = new IntersectionObserver((seen) => {
    for (const one of seen) inView[one.isIntersecting ? "add" : "delete"](one.target.id);
    const first = [...links.keys()].find((id) => inView.has(id));
    for (const [id, a] of links) {
      if (id === first) a.setAttribute("aria-current", "true");
      else a.removeAttribute("aria-current");
    }
  }, { rootMargin: "-8% 0px -70% 0px" });
  for (const id of links.keys()) if ($(id)) watcher.observe($(id));

  // ---- paper: what is folded on the screen is printed, too ----
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("main details:not([open])")];
    for (const one of unfolded) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of unfolded) one.open = false; });

  // ---- the explorer of questions ----
  if (!$("flip-data")) return;
  const entries = JSON.parse($("flip-data").textContent);
  const PAGE = 40; // rows that are made at a time
  const ARMS = ["baseline", "candidate"];
  const WHO = {
    baseline: "baseline only", candidate: "candidate only", neither: "neither", both: "both",
    equal: "equal scores", ungraded: "not graded",
  };
  const list = $("f-list");
  let matching = [];
  let made = 0;

  const whole = (text) => (typeof text === "string" ? text : text ? `${text.head}\n${text.tail}` : "");
  const chars = (text) =>
    (typeof text === "string" ? text.length : text.head.length + text.left_out + text.tail.length);

  function element(tag, css, ...children) {
    const one = document.createElement(tag);
    if (css) one.className = css;
    one.append(...children); // a string becomes a text node
    return one;
  }

  function passage(text, css) {
    const one = element("div", `passage ${css || ""}`);
    one.dir = "auto";
    if (typeof text === "string") one.append(text);
    else {
      const gap = element("span", "gap", `${grouped(text.left_out)} characters left out here`);
      one.append(text.head, gap, text.tail);
    }
    return one;
  }

  const verdictBadge = (arm) => {
    const word = arm.verdict || "no verdict";
    return element("span", `verdict-word v-${word.replace(/[^a-z_]/g, "")}`, word.replace("_", " "));
  };

  function row(index) {
    const entry = entries[index];
    const head = element("button", "q-head");
    head.type = "button";
    head.setAttribute("aria-expanded", "false");
    const name = entry.sample ? `${entry.name} · sample ${entry.sample}` : entry.name;
    head.append(
      element("span", `who w-${entry.direction}`, WHO[entry.direction] || entry.direction),
      element("span", "q-name", element("b", "", name), ` ${entry.task}`),
      element("span", "q-verdicts", verdictBadge(entry.arms[0]), " → ", verdictBadge(entry.arms[1])),
      element("span", "q-peek", whole(entry.question).slice(0, 160)),
    );
    const item = element("li", "q", head);
    item.dataset.index = index;
    head.addEventListener("click", () => toggle(item));
    return item;
  }

  function toggle(item) {
    const head = item.firstElementChild;
    const open = head.getAttribute("aria-expanded") === "true";
    head.setAttribute("aria-expanded", String(!open));
    if (open) item.lastElementChild.remove();
    else {
      item.append(body(entries[item.dataset.index]));
      highlight();
    }
  }

  function body(entry) {
    const facts = element("dl", "facts");
    const fact = (name, text) => {
      if (text) facts.append(element("div", "", element("dt", "", name), element("dd", "", passage(text))));
    };
    fact("Question", entry.question || "The samples file does not hold it.");
    fact("Target", entry.target);
    const arms = element("div", "two", ...entry.arms.map((arm, i) => completion(arm, ARMS[i])));
    return element("div", "q-body", facts, arms);
  }

  function completion(arm, name) {
    const head = element("h3", "", element("span", `mark ${name}`), name, " ", verdictBadge(arm));
    const told = [];
    if (arm.truncated) told.push("cut off");
    if (arm.tokens !== null) told.push(`${grouped(arm.tokens)} tokens`);
    if (arm.finish) told.push(`finish reason ${arm.finish}`);
    if (arm.from) told.push(`text from the ${arm.from}`);
    const one = element("section", "completion", head, element("p", "small", told.join(" · ")));
    const facts = element("dl", "facts");
    const fact = (key, text, css) => facts.append(
      element("div", "", element("dt", "", key), element("dd", "", passage(text, css))));
    if (arm.answer !== null) fact("Extracted", arm.answer || "(empty)", "code");
    if (arm.why) fact("Why", arm.why);
    one.append(facts);
    if (arm.reasoning) {
      const summary = element("summary", "", `Reasoning, ${grouped(chars(arm.reasoning))} characters`);
      const folded = element("details", "reasoning", summary);
      folded.addEventListener("toggle", () => {
        if (folded.open && folded.children.length === 1) folded.append(passage(arm.reasoning, "long"));
        highlight();
      });
      one.append(folded);
    } else if (arm.wrote) one.append(element("p", "small", withoutReasoning(arm)));
    if (arm.text) one.append(passage(arm.text, "long"));
    else one.append(element("p", "small", arm.wrote ? "No answer text." : "Graded by likelihoods: the model wrote nothing."));
    return one;
  }

  const withoutReasoning = (arm) => (arm.reasoning_known
    ? "No reasoning."
    : "Whether it reasoned is not known: the samples file does not say, a log may.");

  // ---- filters ----
  const fields = {
    task: $("f-task"), direction: $("f-direction"), baseline: $("f-baseline"),
    candidate: $("f-candidate"), truncated: $("f-truncated"),
  };
  function offer(select, values, label) {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    for (const [value, count] of counts) {
      const option = element("option", "", `${label(value)} (${grouped(count)})`);
      option.value = value;
      select.append(option);
    }
  }
  const words = (text) => (text || "no verdict").replace("_", " ");
  offer(fields.task, entries.map((one) => one.task), (text) => text);
  offer(fields.direction, entries.map((one) => one.direction), (text) => WHO[text] || text);
  ARMS.forEach((name, i) => offer(fields[name], entries.map((one) => one.arms[i].verdict), words));

  let haystacks = null; // made at the first search
  const haystack = (entry) => [
    entry.name, entry.question, entry.target,
    ...entry.arms.flatMap((arm) => [arm.reasoning, arm.text, arm.answer, arm.why]),
  ].map(whole).join("\n").toLowerCase();
  const needle = () => $("f-search").value.trim().toLowerCase();

  function fits(entry, index, sought) {
    const cut = entry.arms.map((arm) => arm.truncated);
    const wanted = fields.truncated.value;
    return (
      (!fields.task.value || entry.task === fields.task.value) &&
      (!fields.direction.value || entry.direction === fields.direction.value) &&
      ARMS.every((name, i) => !fields[name].selectedIndex || entry.arms[i].verdict === fields[name].value) &&
      (!wanted || { none: !cut[0] && !cut[1], any: cut[0] || cut[1], baseline: cut[0], candidate: cut[1] }[wanted]) &&
      (!sought || haystacks[index].includes(sought))
    );
  }

  function update() {
    const sought = needle();
    if (sought && !haystacks) haystacks = entries.map(haystack);
    matching = [...entries.keys()].filter((index) => fits(entries[index], index, sought));
    list.replaceChildren();
    list.dataset.sought = sought;
    made = 0;
    more();
    $("f-count").textContent = matching.length
      ? `${grouped(matching.length)} of ${grouped(entries.length)} questions`
      : "No question fits. Clear a filter to see more.";
  }

  function more() {
    const next = matching.slice(made, made + PAGE);
    list.append(...next.map(row));
    made += next.length;
    $("f-more").hidden = made >= matching.length;
    $("f-more").textContent = `Show ${grouped(Math.min(PAGE, matching.length - made))} more`;
  }

  function highlight() {
    if (!("highlights" in CSS)) return;
    const sought = needle();
    const ranges = [];
    const texts = document.createTreeWalker(list, NodeFilter.SHOW_TEXT);
    while (sought && texts.nextNode() && ranges.length < 2000) {
      const node = texts.currentNode;
      const lower = node.data.toLowerCase();
      if (lower.length !== node.length) continue; // a few letters change their length
      for (let at = lower.indexOf(sought); at >= 0 && ranges.length < 2000; at = lower.indexOf(sought, at + sought.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + sought.length);
        ranges.push(range);
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  let waiting = 0;
  const form = document.querySelector("#flips form");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (event.target !== $("f-search")) { update(); highlight(); } // that one is heard while typing
  });
  form.addEventListener("reset", () => setTimeout(() => { update(); highlight(); }));
  $("f-search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { update(); highlight(); }, 120);
  });
  $("f-more").addEventListener("click", () => {
    const first = made;
    more();
    highlight();
    list.children[first]?.firstElementChild.focus();
  });

  // ---- keys ----
  const heads = () => [...list.querySelectorAll(".q-head")];
  function step(by) {
    const all = heads();
    const at = all.indexOf(document.activeElement.closest?.(".q")?.firstElementChild);
    if (at + by >= all.length && made < matching.length) more();
    const next = heads()[at < 0 ? 0 : at + by];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }
  addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const item = event.target.closest?.(".q");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      $("f-search").focus();
      $("f-search").scrollIntoView({ block: "center" });
    } else if (event.key === "j" && !typing) step(1);
    else if (event.key === "k" && !typing) step(-1);
    else if (event.key === "r" && item && !typing) {
      for (const one of item.querySelectorAll(".reasoning")) one.open = !one.open;
    } else if (event.key === "Escape" && item?.children.length > 1) {
      toggle(item);
      item.firstElementChild.focus();
    }
  });

  update();
  $("flips").hidden = false;
})();
