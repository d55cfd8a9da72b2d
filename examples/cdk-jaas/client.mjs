// The secret of the client "meetings", and its hash for the stack: made together, and together or not at all.
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const hashOf = (secret) => `sha256:${createHash("sha256").update(secret).digest("base64url")}`;

// Whether there is a client already. A hash whose secret nobody has would be deployed, and lock everyone out.
export const hasClient = () => {
  if (!existsSync("client.hash")) return false;
  const anew = "put that secret back, or delete client.hash and run this again: both are made anew, and the old secret stops working";
  if (!existsSync("client.secret")) throw new Error(`client.hash is here, and client.secret is not; ${anew}`);
  if (hashOf(readFileSync("client.secret", "utf8").trim()) !== readFileSync("client.hash", "utf8").trim()) {
    throw new Error(`client.hash is not the hash of the secret in client.secret; ${anew}`);
  }
  return true;
};

export const makeClient = () => {
  const secret = `cssec_${randomBytes(32).toString("base64url")}`;
  writeFileSync("client.secret", `${secret}\n`, { mode: 0o600 });
  writeFileSync("client.hash", `${hashOf(secret)}\n`);
  console.log("client meetings: its secret is in client.secret, its hash in client.hash; keep both, commit neither");
};
