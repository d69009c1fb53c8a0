// Search from disk: on a page that is opened as a file, browsers start no Worker. There
// the search's script runs in a hidden frame instead, whose window stands in for the
// Worker's scope. Pages that a server sends use a real Worker.
if (location.protocol === "file:") {
  // The theme's script looks for a class of this name.
  window.IFrameWorker = class IFrameWorker extends EventTarget {
    #scope;
    #ready;

    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.#scope = frame.contentWindow;
      this.#scope.postMessage = (data) =>
        this.dispatchEvent(new MessageEvent("message", { data }));
      const script = frame.contentDocument.createElement("script");
      script.src = url;
      this.#ready = new Promise((resolve) => {
        script.onload = resolve;
        script.onerror = () => this.dispatchEvent(new Event("error"));
      });
      frame.contentDocument.body.append(script);
    }

    postMessage(data) {
      this.#ready.then(() => {
        this.#scope.dispatchEvent(new this.#scope.MessageEvent("message", { data }));
      });
    }
  };
  window.Worker = window.IFrameWorker;
}
