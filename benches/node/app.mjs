// `/sign` and JWKS as one would write them with hono and jose: what Countersign is measured against.
//
// The same contract: HTTP Basic against the SHA-256 of the secret, reserved claims from the server, a key parsed
// once, JWKS from memory. No audit log, no policy, no limits. Configured by the environment (harness/servers.py). Served by
// server.mjs on a port and by lambda.mjs as a function.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { Hono } from "hono";
import { SignJWT, exportJWK, importPKCS8, importSPKI } from "jose";

const { ISSUER, AUDIENCE, CLIENT_ID, SECRET_SHA256, PRIVATE_KEY, PUBLIC_KEY, ALGORITHM } = process.env;
const KID = "bench";
const privateKey = await importPKCS8(readFileSync(PRIVATE_KEY, "utf8"), ALGORITHM);
const publicKey = await importSPKI(readFileSync(PUBLIC_KEY, "utf8"), ALGORITHM, { extractable: true });
const jwks = JSON.stringify({ keys: [{ kid: KID, alg: ALGORITHM, use: "sig", ...(await exportJWK(publicKey)) }] });
const secretHash = Buffer.from(SECRET_SHA256, "hex");
const RESERVED = ["iss", "aud", "iat", "nbf", "exp", "jti"];

function authenticated(header) {
  if (!header?.startsWith("Basic ")) return false;
  const shown = Buffer.from(header.slice(6), "base64").toString("utf8");
  const colon = shown.indexOf(":");
  const hash = createHash("sha256").update(shown.slice(colon + 1)).digest();
  return timingSafeEqual(hash, secretHash) && shown.slice(0, colon) === CLIENT_ID;
}

export const app = new Hono();

app.post("/sign", async (c) => {
  if (!authenticated(c.req.header("authorization"))) return c.json({ error: "invalid_client" }, 401);
  const { data, metadata } = await c.req.json();
  if (RESERVED.some((name) => name in data)) return c.json({ error: "invalid_request" }, 400);
  if (metadata.audience !== AUDIENCE || !(metadata.duration <= 3600)) return c.json({ error: "access_denied" }, 403);
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    ...data,
    iss: ISSUER,
    aud: metadata.audience,
    iat: now - 5,
    nbf: now - 5,
    exp: now + metadata.duration,
    jti: randomBytes(16).toString("base64url"),
  };
  const token = await new SignJWT(claims).setProtectedHeader({ alg: ALGORITHM, kid: KID, typ: "JWT" }).sign(privateKey);
  c.header("Cache-Control", "no-store");
  return c.json({ access_token: token, token_type: "Bearer", expires_in: metadata.duration, kid: KID });
});

app.get("/.well-known/jwks.json", (c) =>
  c.body(jwks, 200, { "Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=300" }),
);
