/**
 * The code of a function: the zip that scripts/package made, or one with a configuration file
 * beside the `bootstrap` in it.
 */
import { Code } from "aws-cdk-lib/aws-lambda";
import { copyFileSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";

/** What `zip` holds, and `configFile` as `countersign.toml` in it. */
export function codeOf(zip: string, configFile?: string): Code {
  const bootstrap = entry(readFileSync(zip), "bootstrap");
  if (bootstrap === undefined) {
    throw new Error(`${zip} has no file "bootstrap": it is not what scripts/package makes`);
  }
  if (configFile === undefined) return Code.fromAsset(zip);
  const folder = mkdtempSync(join(tmpdir(), "countersign-"));
  writeFileSync(join(folder, "bootstrap"), bootstrap, { mode: 0o755 });
  copyFileSync(configFile, join(folder, "countersign.toml"));
  return Code.fromAsset(folder);
}

/** A file of a zip, by the directory at its end (APPNOTE.TXT 4.3.12 and 4.3.16). */
function entry(zip: Buffer, wanted: string): Buffer | undefined {
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0) return undefined;
  const entries = zip.readUInt16LE(end + 10);
  let at = zip.readUInt32LE(end + 16);
  for (let index = 0; index < entries; index++) {
    const [method, size] = [zip.readUInt16LE(at + 10), zip.readUInt32LE(at + 20)];
    const [name, extra, comment] = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset));
    if (zip.toString("utf8", at + 46, at + 46 + name) === wanted) {
      const local = zip.readUInt32LE(at + 42);
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const data = zip.subarray(start, start + size);
      return method === 0 ? data : inflateRawSync(data);
    }
    at += 46 + name + extra + comment;
  }
  return undefined;
}
