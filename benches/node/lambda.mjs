// app.mjs as a Lambda function, with hono's own adapter for events of API Gateway.
//
// The loop around it is the least that asks the runtime API; the client in Lambda's own Node runtime does more, so that a start
// there takes longer than here. Bundled by esbuild, as deployment tools do it.
import http from "node:http";
import { handle } from "hono/aws-lambda";
import { app } from "./app.mjs";

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true });
const handler = handle(app);

function ask(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  const options = { hostname, port, method, path: `/2018-06-01/runtime/invocation/${path}`, agent, headers };
  return new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, text: Buffer.concat(chunks).toString("utf8") }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

for (;;) {
  const next = await ask("GET", "next");
  const id = next.headers["lambda-runtime-aws-request-id"];
  const reply = await handler(JSON.parse(next.text), { awsRequestId: id });
  await ask("POST", `${id}/response`, JSON.stringify(reply));
}
