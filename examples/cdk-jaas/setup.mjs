// Once, and again whenever the key changes: the private key of .env goes to Parameter Store as a SecureString, and the
// client "meetings" gets a secret, which is shown here and nowhere else. Its hash is for the stack.
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { createPrivateKey } from "node:crypto";
import { existsSync } from "node:fs";
import { hasClient, makeClient } from "./client.mjs";

const PARAMETER = "/countersign-jaas/private-key";

if (existsSync(".env")) process.loadEnvFile(".env");
const key = (process.env.PRIVATE_KEY ?? "").replaceAll("\\n", "\n");
try {
  createPrivateKey(key);
} catch (why) {
  console.error(`PRIVATE_KEY of .env is not a private key in PEM: ${why.message}`);
  process.exit(1);
}
let isThere;
try {
  isThere = hasClient();
} catch (why) {
  console.error(why.message);
  process.exit(1);
}
const ssm = new SSMClient();
const Tier = key.length > 4096 ? "Advanced" : "Standard";
await ssm.send(new PutParameterCommand({ Name: PARAMETER, Type: "SecureString", Value: key, Overwrite: true, Tier }));
console.log(`the private key is in Parameter Store as ${PARAMETER}; .env needs it no more`);
if (!isThere) makeClient();
