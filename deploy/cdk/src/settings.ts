/**
 * Settings of the programs, as they stand in `countersign.toml`, as the variables of a function.
 *
 * What is in a template can be read by everybody who may see the stack, so a secret is only ever
 * a reference (`ssm:/NAME`, `secretsmanager:ARN`); what looks like one itself is refused here.
 */
import { Token } from "aws-cdk-lib";

/** A value of TOML. */
export type Setting = string | number | boolean | Setting[] | { [key: string]: Setting };

/** Sections and keys as in `countersign.toml`: docs/configuration.md has all of them. */
export type Settings = { [section: string]: Setting };

/** Lambda's limit for names and values of a function's variables together. */
const LONGEST = 4096;
/** Sections that a file and variables may share: each of their keys is a variable of its own. */
const SHARED = new Set([
  "gate", "jwks", "limits", "log", "publish", "rotation", "sealing", "server", "store", "tokens",
]);
const PRIVATE = /-----BEGIN [A-Z ]*PRIVATE KEY|cssec_|"d"\s*:\s*"/;
const REFERENCE = /^(ssm|secretsmanager):/;

/** The variables `COUNTERSIGN_…` that say this. */
export function variables(settings: Settings): Record<string, string> {
  const made: Record<string, string> = {};
  for (const [section, value] of Object.entries(settings)) {
    const name = `COUNTERSIGN_${section.toUpperCase()}`;
    if (!SHARED.has(section)) made[name] = toml(value);
    else for (const [key, inner] of Object.entries(value)) {
      made[`${name}__${key.toUpperCase()}`] = toml(inner);
    }
  }
  return made;
}

/** `settings` with `defaults` where it says nothing. */
export function withDefaults(settings: Settings, defaults: Settings): Settings {
  const whole: Settings = { ...settings };
  for (const [section, value] of Object.entries(defaults)) {
    const own = settings[section];
    if (own === undefined) whole[section] = value;
    else if (isTable(value) && isTable(own)) whole[section] = { ...value, ...own };
  }
  return whole;
}

/** A value as TOML has it in one line. JSON's escapes of text are all TOML's as well. */
function toml(value: Setting): string {
  if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
  if (isTable(value)) {
    const members = Object.entries(value).map(([key, inner]) => `${bare(key)} = ${toml(inner)}`);
    return `{ ${members.join(", ")} }`;
  }
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

const bare = (key: string) => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key));

function isTable(value: Setting): value is { [key: string]: Setting } {
  return typeof value === "object" && !Array.isArray(value);
}

/**
 * Refuses what a function's variables must not or cannot have. The sum is right but for values
 * that are known at deployment alone, like the name of a table.
 */
export function check(environment: Record<string, string>): void {
  for (const [name, value] of Object.entries(environment)) {
    if (PRIVATE.test(value)) {
      throw new Error(
        `${name} has a secret in it, and the template of a stack is no place for one: put it into ` +
          `Parameter Store (SecureString) or Secrets Manager and give ssm:/NAME or secretsmanager:ARN`,
      );
    }
  }
  const known = Object.entries(environment).filter(([, value]) => !Token.isUnresolved(value));
  const size = known.reduce((sum, [name, value]) => sum + name.length + Buffer.byteLength(value), 0);
  if (size > LONGEST) {
    throw new Error(
      `the settings are ${size} bytes as variables of a function, which may have ${LONGEST}: ` +
        `put them into a file and give it as configFile`,
    );
  }
}

/** Every reference to a secret in these variables, wherever in a value it stands, each once. */
export function references(environment: Record<string, string>): string[] {
  const texts = Object.values(environment).flatMap((value) => [value, ...(value.match(/"[^"]*"/g) ?? [])]);
  const bared = texts.map((text) => text.replace(/^"(.*)"$/, "$1"));
  return [...new Set(bared.filter((text) => REFERENCE.test(text)))].sort();
}
