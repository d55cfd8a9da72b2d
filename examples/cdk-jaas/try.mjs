// The whole example against an AWS on this machine (../emulator): set up, deploy, and a token for a meeting by both ways in.
// With a key that is made for it and not the one in .env, which no emulator needs to have.
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";

const endpoint = process.env.AWS_ENDPOINT_URL ?? "http://127.0.0.1:4566";
const appId = "vpaas-magic-cookie-1fc542a3e4414a44b2611668195e2bfe";
Object.assign(process.env, {
  AWS_ENDPOINT_URL: endpoint, AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_REGION: "us-east-1",
  JAAS_APP_ID: appId, JAAS_API_KID: `${appId}/4f4910`,
  PRIVATE_KEY: generateKeyPairSync("rsa", {
    modulusLength: 2048, privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" },
  }).privateKey,
});
const cdk = (...args) =>
  execFileSync("npx", ["cdk", ...args, "-c", `countersign:emulator=${endpoint}`, "--no-notices"], { stdio: "inherit" });

execFileSync("node", ["setup.mjs"], { stdio: "inherit" });
cdk("bootstrap", "aws://000000000000/us-east-1");
cdk("deploy", "--require-approval", "never", "--outputs-file", "outputs.json");

const { RestApi, FunctionUrl } = JSON.parse(readFileSync("outputs.json", "utf8")).CountersignJaas;
const secret = readFileSync("client.secret", "utf8").trim();
const meeting = { profile: "jaas", data: { room: "standup", user: { name: "Alice" }, moderator: true } };
for (const address of [RestApi, FunctionUrl]) {
  const answer = await fetch(`${address}/sign`, {
    method: "POST",
    headers: { Authorization: `Basic ${btoa(`meetings:${secret}`)}`, "Content-Type": "application/json" },
    body: JSON.stringify(meeting),
  });
  const { access_token: token, error_description: why } = await answer.json();
  if (!token) throw new Error(`${address}/sign: ${why}`);
  console.log(`${address}/sign\n  https://8x8.vc/${appId}/standup?jwt=${token}`);
}
