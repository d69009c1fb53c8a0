// Adds a passkey to an account, or logs in with one. What goes to and fro is JSON as
// WebAuthn itself writes it.

async function send(address, body) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
  });
  const document = await answer.json();
  if (!answer.ok) throw new Error(`${document.error.message} ${document.error.mend}`);
  return document;
}

async function makeCredential(kind, options) {
  if (kind === "account") {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    return navigator.credentials.create({ publicKey });
  }
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return navigator.credentials.get({ publicKey });
}

function offer(place) {
  const button = place.querySelector("button");
  const alert = place.querySelector("[role=alert]");
  const { passkey, options, send: address, next } = place.dataset;
  button.addEventListener("click", async () => {
    alert.textContent = "";
    button.disabled = true;
    try {
      const credential = await makeCredential(passkey, await send(options, {}));
      const answer = await send(address, { credential: credential.toJSON(), next });
      location.assign(answer.next);
    } catch (error) {
      // What a browser says itself is of the kind DOMException.
      alert.textContent =
        error instanceof DOMException ? "The passkey was not used." : error.message;
    } finally {
      button.disabled = false;
    }
  });
  place.hidden = false;
}

if (window.PublicKeyCredential?.parseCreationOptionsFromJSON) {
  document.querySelectorAll("[data-passkey]").forEach(offer);
}
