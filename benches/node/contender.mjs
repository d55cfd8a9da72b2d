// aws-jwt-verify, driven by the harness line by line: the orders are described in rust/src/bin/contender.rs.
//
// Keys are cached before (`cacheJwks`) and `verifySync` is used: the fastest way of its manual.
import { createInterface } from "node:readline";
import { JwtVerifier } from "aws-jwt-verify";
import { authorizer } from "./authorizer.mjs";

const BATCH = 64;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { issuer, audience, jwks, token, events } = JSON.parse((await lines.next()).value);
const verifier = JwtVerifier.create({ issuer, audience, jwksUri: `${issuer}/.well-known/jwks.json` });
verifier.cacheJwks(JSON.parse(jwks));
const authorize = authorizer((token) => verifier.verifySync(token));

function outcome(operation) {
  try {
    return operation();
  } catch {
    return null;
  }
}

function time(operation, seconds) {
  const used = process.cpuUsage();
  const start = performance.now();
  let took = 0;
  let count = 0;
  for (; took < seconds * 1000; count += BATCH) {
    for (let n = 0; n < BATCH; n++) operation();
    took = performance.now() - start;
  }
  const { user, system } = process.cpuUsage(used);
  return { per_second: (count / took) * 1e3, per_cpu_second: (count / (user + system)) * 1e6 };
}

for await (const line of lines) {
  const order = JSON.parse(line);
  let answer;
  if ("verify" in order) answer = outcome(() => verifier.verifySync(order.verify)) !== null;
  else if ("authorize" in order) answer = outcome(() => authorize(order.authorize));
  else {
    const [what, seconds] = order.time;
    const event = events[what];
    answer = time(what === "verify" ? () => verifier.verifySync(token) : () => authorize(event), seconds);
  }
  console.log(JSON.stringify(answer));
}
