// The files of a scan go to the server in one request.

const PICTURE = /\.(png|jpe?g|tiff?|bmp|webp|gif)$/i;

// Anything that is not plainly a picture is a scan, or a part of one.
export function isScan(files) {
  return files.some((file) => file.name && !PICTURE.test(file.name));
}

class Problem extends Error {
  constructor(message, mend) {
    super(message);
    this.mend = mend;
  }
}

// Resolves to the address of the scan's page. `report` is told the share sent.
export function sendScan({ scanAction, scanLimitMb }, files, point, signal, report) {
  const size = files.reduce((sum, file) => sum + file.size, 0);
  if (size > Number(scanLimitMb) * 1024 * 1024) {
    throw new Problem(
      `It is larger than ${scanLimitMb} MB.`,
      "Send one series at a time, packed as zip.",
    );
  }
  const body = new FormData();
  for (const file of files) body.append("file", file, file.name);
  if (point) body.append("operating_point", point);
  return new Promise((done, fail) => {
    // Fetch does not tell how much has been sent.
    const request = new XMLHttpRequest();
    request.open("POST", scanAction);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) report(event.loaded / event.total);
    });
    const silent = () => new Problem("The server does not answer.", "Is TumorLens still running?");
    request.addEventListener("load", () => {
      const answer = request.response;
      if (request.status === 202 && answer) done(answer.url);
      else if (answer?.error) fail(new Problem(answer.error.message, answer.error.mend));
      else fail(silent());
    });
    request.addEventListener("error", () => fail(silent()));
    request.addEventListener("abort", () => fail(new Problem("Stopped.", "")));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}
