// Once, and again whenever the key changes: the private key of .env goes to Parameter Store as a SecureString, and the
// client "meetings" gets a secret, which is shown here and nowhere else. Its hash is for the stack.
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { createHash, createPrivateKey, randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";

const PARAMETER = "/countersign-jaas/private-key";

if (existsSync(".env")) process.loadEnvFile(".env");
const key = (process.env.PRIVATE_KEY ?? "").replaceAll("\\n", "\n");
try {
  createPrivateKey(key);
} catch (why) {
  console.error(`PRIVATE_KEY of .env is not a private key in PEM: ${why.message}`);
  process.exit(1);
}
const ssm = new SSMClient();
const Tier = key.length > 4096 ? "Advanced" : "Standard";
await ssm.send(new PutParameterCommand({ Name: PARAMETER, Type: "SecureString", Value: key, Overwrite: true, Tier }));
console.log(`the private key is in Parameter Store as ${PARAMETER}; .env needs it no more`);
if (!existsSync("client.hash")) {
  const secret = `cssec_${randomBytes(32).toString("base64url")}`;
  writeFileSync("client.hash", `sha256:${createHash("sha256").update(secret).digest("base64url")}\n`);
  writeFileSync("client.secret", `${secret}\n`, { mode: 0o600 });
  console.log("client meetings: its secret is in client.secret, its hash in client.hash; keep the former, commit the latter");
}
