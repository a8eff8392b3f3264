// The script of the console: passkeys, news, proofs. Nothing here writes markup; what comes from the server as a page is
// taken over as nodes, and everything else as text.
"use strict";
(() => {
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
  const byId = (id) => document.getElementById(id);
  const utf8 = (text) => new TextEncoder().encode(text);
  const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  const digest = async (alg, bytes) => new Uint8Array(await crypto.subtle.digest(alg, bytes));
  const join = (...parts) => {
    const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const p of parts) {
      out.set(p, at);
      at += p.length;
    }
    return out;
  };
  const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  const base64 = (bytes) => btoa(Array.from(new Uint8Array(bytes), (b) => String.fromCharCode(b)).join(""));
  const base64url = (bytes) => base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const unbase64 = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

  // post has the API do something, as the person who is signed in.
  async function post(path, body) {
    const answer = await fetch(meta("api") + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Remit-CSRF": meta("csrf") },
      body: JSON.stringify(body),
    });
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      if (answer.status === 401 && (answer.headers.get("WWW-Authenticate") ?? "").includes("insufficient_user_authentication")) {
        location.assign(`/console/sign-in?fresh=1&return=${encodeURIComponent(location.pathname + location.search)}`);
      }
      throw new Error(said.detail || `the server answered ${answer.status}`);
    }
    return said;
  }

  // assertion is what the API takes of a passkey's answer.
  const assertion = (c) => ({
    id: c.id,
    client_data: base64url(c.response.clientDataJSON),
    authenticator_data: base64url(c.response.authenticatorData),
    signature: base64url(c.response.signature),
    ...(c.response.userHandle?.byteLength ? { user_handle: base64url(c.response.userHandle) } : {}),
  });

  // touched does something with a passkey, and says in words why it failed.
  async function touched(what) {
    if (!window.PublicKeyCredential) throw new Error("this browser has no passkeys; use a terminal");
    try {
      return await what();
    } catch (e) {
      if (e.name === "NotAllowedError") throw new Error("no passkey was used: it was cancelled, it took too long, or this device has none for here");
      if (e.name === "InvalidStateError") throw new Error("this device has a passkey of yours already");
      throw e;
    }
  }

  // ask has the person touch a passkey for a challenge: any of theirs, or that of an id. The relying party is this host.
  const ask = (challenge, timeout, id) =>
    touched(async () => {
      const allowCredentials = id ? [{ type: "public-key", id: unbase64(id) }] : [];
      return assertion(await navigator.credentials.get({ publicKey: { challenge, userVerification: "required", allowCredentials, timeout } }));
    });

  // enrol makes a passkey, has it say whose it is, and for a further one has an older one confirm it, or an SSH key in a
  // terminal. Each is a press of its own: a browser lets a page ask for one touch a press.
  let next = null;
  async function enrol(button) {
    const invited = "invitation" in button.dataset;
    const base = invited ? "/invitations" : "/keys";
    const secret = invited ? { secret: location.hash.slice(1) } : {};
    if (next) return next(button);
    const options = await post(base + (invited ? "/open" : "/options"), secret);
    if (!options.creation) throw new Error("this server is known by an address only, and passkeys are made for names");
    say("Make the passkey …");
    const made = await touched(() => navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options.creation.publicKey) }));
    const st = await post(base + "/statement", { ...secret, registration: made.toJSON() });
    const then = (label, text, step) => {
      button.textContent = label;
      say(text);
      next = step;
    };
    const finish = async (credential, confirm) => {
      const said = await post(base + (invited ? "/enrol" : ""), { ...secret, key: st.key, label: byId("label").value, credential, ...(confirm ? { confirm } : {}) });
      next = null;
      button.remove();
      byId("label").closest("p").remove();
      const counts = said.decision.verdict === "allow";
      say(counts ? "Your passkey is enrolled, and counts from now on." : `Your passkey is enrolled: ${said.decision.sentence}.`);
      if (!invited) return;
      history.replaceState(null, "", location.pathname); // the secret is spent
      byId("invited").textContent = counts ? "You can sign in with it now." : "You can sign in with it later.";
    };
    const forTerminal = (made) => {
      next = null;
      byId("command").value = "remit key add --passkey " + base64url(new TextEncoder().encode(JSON.stringify(made)));
      byId("made").hidden = false;
      button.remove();
      byId("label").closest("p").remove();
      say("It counts once an SSH key of yours has confirmed it.");
      byId("command").select();
    };
    then("Confirm with the new passkey", "Made. Now it says that it is yours.", async () => {
      const credential = await ask(unbase64(st.passkey.challenge), st.passkey.timeout_ms, st.credential);
      if (!st.confirm) return finish(credential);
      if ("terminal" in button.dataset) return forTerminal({ key: st.key, label: byId("label").value, credential });
      then("Confirm with an older passkey", "Now an older passkey of yours confirms it.", async () => finish(credential, await ask(unbase64(st.confirm.challenge), st.confirm.timeout_ms)));
    });
  }

  // invitation says whom the invitation behind the # is for.
  async function invitation(button) {
    const p = byId("invited");
    try {
      const { name } = await post("/invitations/open", { secret: location.hash.slice(1) });
      p.textContent = `This is for ${name}. If that is you, make a passkey on this device: it signs what you decide.`;
      button.disabled = false;
    } catch (e) {
      p.className = "warn";
      p.textContent = e.message;
    }
  }

  // handed says whom the link behind the # signs in. The secret leaves the address at once.
  let handed = "";
  async function handOver(button) {
    const p = byId("handed");
    handed = location.hash.slice(1);
    history.replaceState(null, "", location.pathname + location.search);
    try {
      const h = await post("/sign-in/hand-over/look", { secret: handed });
      p.textContent = `This signs this browser in as ${h.name}, whose terminal at ${h.address} asked for it.`;
      const doubts = [];
      if (h.other) doubts.push(`This browser is signed in as ${h.other}; that ends.`);
      if (!h.here) doubts.push("The terminal is at another address than this browser.");
      byId("otherwise").textContent = doubts.join(" ");
      byId("otherwise").hidden = doubts.length === 0;
      button.textContent = `Sign in as ${h.name}`;
      button.disabled = false;
    } catch (e) {
      p.className = "warn";
      p.textContent = e.message;
    }
  }

  async function takeOver(button) {
    await post("/sign-in/hand-over/accept", { secret: handed });
    location.assign(button.dataset.return);
  }

  // say tells a person what came of a press of a button.
  const say = (text, wrong) => {
    const p = byId("said");
    if (!p) return;
    p.className = wrong ? "warn" : "";
    p.textContent = text;
  };

  // run does what a button asks for, once at a time.
  let busy = false;
  async function run(button, what) {
    if (busy) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    try {
      await what();
    } catch (e) {
      say(e.message, true);
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  }

  async function signIn(button) {
    say("Touch your passkey …");
    const { text, passkey } = await post("/sign-in/challenge", {});
    const credential = await ask(unbase64(passkey.challenge), passkey.timeout_ms);
    await post("/sign-in/passkey", { text, credential });
    location.assign(button.dataset.return);
  }

  const zones = { "": "none", S: "source", B: "build", P: "production", C: "Remit's own controls" };
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const two = (n) => String(n).padStart(2, "0");

  // statement is what a vote signs, made of the fixed part of the card, after checking that this part has the digest that
  // the card names and that every line that a person can read here is what it binds.
  async function statement(ballot, approve) {
    const { fixed: text, card, request } = ballot.dataset;
    const is = hex(await digest("SHA-256", join(utf8("remit card v1\n"), utf8(text))));
    if (is !== card) throw new Error(`the fixed part of the card has the digest ${is}; nothing was signed`);
    const fixed = JSON.parse(text);
    const nanos = /"NotAfter":([0-9]+)/.exec(text); // a number that JSON.parse would round
    if (!nanos) throw new Error("the card says no time; nothing was signed");
    const end = new Date(Number(BigInt(nanos[1]) / 1000000000n) * 1000);
    const shown = `${end.getUTCDate()} ${months[end.getUTCMonth()]} ${end.getUTCFullYear()} ${two(end.getUTCHours())}:${two(end.getUTCMinutes())} UTC`;
    const binds = { ...fixed, Zone: zones[fixed.Zone], NotAfter: shown, card };
    for (const e of document.querySelectorAll("#live [data-bind]")) {
      const name = e.dataset.bind;
      if (e.textContent !== binds[name]) throw new Error(`the card shows the ${name} “${e.textContent}” and binds “${binds[name]}”; nothing was signed`);
    }
    if (fixed.Request !== request || fixed.Org !== meta("org")) throw new Error("the card is one of another request; nothing was signed");
    const of = (d) => d || "0".repeat(64); // none is written as zeros where it is signed
    return utf8(
      `remit vote v1\norigin: ${fixed.Origin}\nrequest: ${fixed.Request}\nvote: ${approve ? "approve" : "deny"}\neffect: ${of(fixed.Effect)}\n` +
        `change: ${of(fixed.Change)}\ncard: ${card}\nnot-after: ${end.toISOString().replace(".000Z", "Z")}\n`,
    );
  }

  // toSign is the text that an SSH signature is made over (PROTOCOL.sshsig): it is a passkey's challenge.
  async function toSign(namespace, message) {
    const field = (bytes) => {
      const size = new Uint8Array(4);
      new DataView(size.buffer).setUint32(0, bytes.length);
      return join(size, bytes);
    };
    return join(utf8("SSHSIG"), field(utf8(namespace)), field(utf8("")), field(utf8("sha512")), field(await digest("SHA-512", message)));
  }

  async function vote(button) {
    const ballot = byId("ballot");
    const approve = button.dataset.vote === "approve";
    const text = await statement(ballot, approve);
    say("Touch your passkey …");
    const credential = await ask(await toSign("vote@remit", text), 120000);
    await post(`/approvals/${encodeURIComponent(ballot.dataset.request)}/votes`, { statement: base64(text), credential });
    say(approve ? "You approved." : "You denied.");
    byId("news").textContent = approve ? "You approved." : "You denied.";
    await refresh();
    document.querySelector("#votes")?.scrollIntoView({ block: "nearest" });
  }

  // certified is the line by which an answer to an item is signed, after checking that its fixed part has the digest that the
  // item names, and that what a person can read here is what it binds.
  async function certified(article, answer) {
    const { item, shown, fixed: text } = article.dataset;
    const is = hex(await digest("SHA-256", utf8(`remit review item v1\n${text}`)));
    if (is !== shown) throw new Error(`the fixed part of ${item} has the digest ${is}; nothing was signed`);
    const { Origin: origin, Item: fixed } = JSON.parse(text);
    const all = (list) => (list ?? []).join(", ");
    const scope = fixed.Scope ?? {};
    const binds = { Agent: fixed.Agent, Function: fixed.Function ?? "", Uses: String(fixed.Evidence.uses), Advice: fixed.Advice,
      Actions: all(scope.actions), Resources: all(scope.resources), Refs: all(scope.refs), Paths: all(scope.paths) };
    for (const e of article.querySelectorAll("[data-bind]")) {
      const name = e.dataset.bind;
      if (e.textContent !== binds[name]) throw new Error(`${item} shows the ${name} “${e.textContent}” and binds “${binds[name]}”; nothing was signed`);
    }
    if (fixed.ID !== item) throw new Error(`${item} binds another item; nothing was signed`);
    return { origin, line: `${item} ${answer} ${shown}\n` };
  }

  // certify signs answers to items with one touch: of one article as a button says, or of each as it is recommended.
  async function certify(button) {
    const one = button.closest("[data-item]");
    const articles = one ? [one] : Array.from(document.querySelectorAll("[data-item][data-may]")).slice(0, 200);
    const said = [];
    for (const a of articles) said.push(await certified(a, one ? button.dataset.answer : a.dataset.advice));
    const origins = new Set(said.map((s) => s.origin));
    if (origins.size !== 1) throw new Error("the items are of several logs; nothing was signed");
    const text = utf8(`remit review v1\norigin: ${said[0].origin}\n${said.map((s) => s.line).join("")}`);
    say("Touch your passkey …");
    const credential = await ask(await toSign("review@remit", text), 120000);
    const { items } = await post("/review-items/answers", { statement: base64(text), credential });
    const fooled = items.filter((i) => i.answered?.canary).map((i) => `${i.id}: the agent never had this. It was there to see whether somebody looks.`);
    say([...items.map((i) => `${i.id} is ${i.status}.`).slice(0, 5), ...(items.length > 5 ? [`${items.length} items were answered.`] : []), ...fooled].join(" "), fooled.length > 0);
    await refresh();
  }

  // verify checks a receipt (C2SP tlog-proof): the signature on the log's head, and the path from the entry to its root.
  async function verify(button) {
    const out = byId("verified");
    out.className = "";
    try {
      const answer = await fetch(button.dataset.receipt);
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const size = await proven(await answer.text(), byId("verifier").textContent.trim(), Number(button.dataset.entry));
      out.textContent = `✓ Entry ${button.dataset.entry} is in the log of ${size} entries that the key signed.`;
    } catch (e) {
      out.className = "warn";
      out.textContent = `✗ Not proven: ${e.message}.`;
    }
  }

  async function proven(receipt, key, entry) {
    const cut = receipt.indexOf("\n\n");
    const lines = receipt.slice(0, cut).split("\n");
    const note = receipt.slice(cut + 2);
    if (cut < 0 || lines[0] !== "c2sp.org/tlog-proof@v1") throw new Error("this is no receipt");
    const extra = lines[1]?.startsWith("extra ") ? unbase64(lines[1].slice(6)) : null;
    const rest = lines.slice(extra ? 2 : 1);
    if (!extra || rest[0] !== `index ${entry}`) throw new Error("the receipt is not of this entry");
    const path = rest.slice(1).map(unbase64);
    const blank = note.indexOf("\n\n");
    const body = note.slice(0, blank + 1);
    const [origin, sizeText, rootText] = body.split("\n");
    await signed(note.slice(blank + 2), body, key, origin);
    const size = Number(sizeText);
    if (!Number.isSafeInteger(size) || entry >= size) throw new Error("the signed head does not cover the entry");
    // RFC 9162 §2.1.3.2.
    let fn = entry;
    let sn = size - 1;
    let hash = await digest("SHA-256", join(new Uint8Array([0]), extra));
    const node = (a, b) => digest("SHA-256", join(new Uint8Array([1]), a, b));
    for (const p of path) {
      if (sn === 0) throw new Error("the path is too long");
      if (fn % 2 === 1 || fn === sn) {
        hash = await node(p, hash);
        while (fn % 2 === 0 && fn !== 0) {
          fn = Math.floor(fn / 2);
          sn = Math.floor(sn / 2);
        }
      } else {
        hash = await node(hash, p);
      }
      fn = Math.floor(fn / 2);
      sn = Math.floor(sn / 2);
    }
    if (sn !== 0 || !same(hash, unbase64(rootText))) throw new Error("the path does not lead to the signed root");
    return size;
  }

  // signed checks a signed note (C2SP signed-note) with an Ed25519 verifier key: NAME+HASH+base64(1 ‖ key).
  async function signed(signatures, body, verifier, origin) {
    const first = verifier.indexOf("+");
    const name = verifier.slice(0, first);
    const hash = verifier.slice(first + 1, first + 9);
    const raw = unbase64(verifier.slice(first + 10));
    if (raw[0] !== 1 || raw.length !== 33 || name !== origin) throw new Error("the key is not one of this log");
    const id = hex((await digest("SHA-256", join(utf8(`${name}\n`), raw))).slice(0, 4));
    if (id !== hash) throw new Error("the key does not have its own name");
    const line = signatures.split("\n").find((l) => l.startsWith(`— ${name} `));
    const sig = line ? unbase64(line.slice(line.lastIndexOf(" ") + 1)) : new Uint8Array();
    if (hex(sig.slice(0, 4)) !== hash) throw new Error("the head is not signed with this key");
    let pub;
    try {
      pub = await crypto.subtle.importKey("raw", raw.slice(1), "Ed25519", false, ["verify"]);
    } catch {
      throw new Error("this browser cannot check Ed25519 signatures; use remit log verify");
    }
    if (!(await crypto.subtle.verify("Ed25519", pub, sig.slice(4), utf8(body)))) throw new Error("the signature on the head is wrong");
  }

  // load is a page of this server as a document. XMLHttpRequest makes one without a text that could become markup.
  const load = (url) =>
    new Promise((resolve, reject) => {
      const x = new XMLHttpRequest();
      x.open("GET", url);
      x.responseType = "document";
      x.timeout = 20000;
      x.onload = () => (x.status === 200 && x.response ? resolve(x) : reject(new Error(`the server answered ${x.status}`)));
      x.onerror = x.ontimeout = () => reject(new Error("the server does not answer"));
      x.send();
    });

  // merge makes a part of the page what it is now, and leaves alone what has not changed: a finger that is on a button, a
  // focus, a selection and what somebody opened stay where they are.
  function merge(old, now) {
    if (old.isEqualNode(now) || old.id === "said") return;
    if (old.nodeName !== now.nodeName || old.id !== now.id) {
      old.replaceWith(document.adoptNode(now));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = now.data;
      return;
    }
    const kept = (name) => name === "open" || name === "aria-busy"; // these are the person's, not the server's
    for (const { name } of Array.from(old.attributes)) if (!now.hasAttribute(name) && !kept(name)) old.removeAttribute(name);
    for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value && !kept(name)) old.setAttribute(name, value);
    const left = Array.from(old.childNodes);
    const fits = (a, b) => a.nodeName === b.nodeName && a.id === b.id;
    let at = old.firstChild;
    for (const child of Array.from(now.childNodes)) {
      let i = left.findIndex((x) => x.isEqualNode(child));
      if (i < 0) i = left.findIndex((x) => fits(x, child));
      const node = i < 0 ? document.adoptNode(child) : left.splice(i, 1)[0];
      if (node !== at) old.insertBefore(node, at);
      else at = at.nextSibling;
      if (i >= 0) merge(node, child);
    }
    for (const x of left) x.remove();
  }

  // refresh shows the page as it is now.
  async function refresh() {
    const x = await load(location.href);
    if (new URL(x.responseURL).pathname !== location.pathname) {
      location.reload(); // the session is over
      return;
    }
    const old = byId("live");
    const now = x.response.getElementById("live");
    if (!old || !now || old.isEqualNode(now)) return;
    const known = new Set(Array.from(old.querySelectorAll("li[id]"), (e) => e.id));
    const had = old.contains(document.activeElement);
    merge(old, now);
    if (had && !old.contains(document.activeElement)) byId("main").focus({ preventScroll: true }); // what had it is gone
    const fresh = Array.from(old.querySelectorAll("li[id]"), (e) => e.id).filter((id) => !known.has(id));
    if (fresh.length && location.pathname !== "/console/log") byId("news").textContent = `New: ${fresh.join(", ")}`;
  }

  // follow keeps a page true: by events, and where these do not get through, by asking every ten seconds.
  // A page of a list says which kinds of entries change it.
  function follow(size, kinds) {
    let due = false;
    let next = 0; // when the page may be asked for again: a slow server is not asked more often than it can answer
    const news = () => {
      if (due) return;
      due = true;
      setTimeout(async () => {
        if (document.hidden || busy) {
          due = false;
          if (busy) news();
          else document.addEventListener("visibilitychange", news, { once: true });
          return;
        }
        due = false;
        const from = Date.now();
        await refresh().catch(() => {});
        next = Date.now() + Math.min(1000, Math.max(200, 2 * (Date.now() - from)));
      }, Math.max(50, next - Date.now()));
    };
    let polling = 0;
    const events = new EventSource(`/console/events?from=${encodeURIComponent(size)}`);
    events.addEventListener("entry", (e) => {
      if (!kinds || kinds.split(" ").some((k) => e.data.startsWith(k))) news();
    });
    events.onopen = () => {
      clearInterval(polling);
      polling = 0;
    };
    events.onerror = () => {
      if (!polling) polling = setInterval(news, 10000);
    };
  }

  document.addEventListener("click", (e) => {
    const b = e.target.closest("button");
    if (!b) return;
    if (b.dataset.vote) run(b, () => vote(b));
    else if (b.dataset.answer || "recommended" in b.dataset) run(b, () => certify(b));
    else if (b.id === "enrol") run(b, () => enrol(b));
    else if (b.id === "passkey") run(b, () => signIn(b));
    else if (b.id === "take") run(b, () => takeOver(b));
    else if (b.id === "verify") run(b, () => verify(b));
  });
  const first = document.querySelector("[data-invitation]");
  if (first) invitation(first);
  const taking = document.querySelector("[data-handover]");
  if (taking) handOver(taking);
  const ballot = byId("ballot");
  if (ballot) post(`/approvals/${encodeURIComponent(ballot.dataset.request)}/seen`, {}).catch(() => {}); // from when the wait for people is counted
  if (document.body.dataset.live) follow(document.body.dataset.live, document.body.dataset.kinds);
})();
