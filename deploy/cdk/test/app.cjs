// What the tests share: packages that are small, and stacks as their templates.
const { App, Stack } = require("aws-cdk-lib");
const { Template } = require("aws-cdk-lib/assertions");
const { mkdtempSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

/** A zip with one file in it, stored as it is. */
function zip(name, text) {
  const [file, data] = [Buffer.from(name), Buffer.from(text)];
  const head = Buffer.alloc(30);
  head.write("PK\x03\x04", "latin1");
  head.writeUInt32LE(data.length, 18);
  head.writeUInt32LE(data.length, 22);
  head.writeUInt16LE(file.length, 26);
  const entry = Buffer.alloc(46);
  entry.write("PK\x01\x02", "latin1");
  entry.writeUInt32LE(data.length, 20);
  entry.writeUInt32LE(data.length, 24);
  entry.writeUInt16LE(file.length, 28);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(entry.length + file.length, 12);
  end.writeUInt32LE(head.length + file.length + data.length, 16);
  const path = join(mkdtempSync(join(tmpdir(), "countersign-test-")), "package.zip");
  writeFileSync(path, Buffer.concat([head, file, data, entry, file, end]));
  return path;
}

const code = zip("bootstrap", "#!/bin/sh\n");

/** The template of a stack that `fill` fills, and what it gives. */
function stack(fill, context = {}) {
  const app = new App({ context });
  const one = new Stack(app, "Test");
  const made = fill(one);
  return { template: Template.fromStack(one), made, stack: one };
}

/** All statements of the policies of a role whose logical id begins so. */
function statements(template, role) {
  const policies = Object.values(template.findResources("AWS::IAM::Policy"));
  return policies
    .filter((one) => one.Properties.Roles.some((own) => own.Ref?.startsWith(role)))
    .flatMap((one) => one.Properties.PolicyDocument.Statement);
}

const actions = (statement) => [statement.Action].flat();

module.exports = { actions, code, stack, statements, zip };
