/**
 * What all functions here have in common: the runtime, a log group of their own, and a role that
 * may write to that log group and nothing else.
 */
import { ArnFormat, Duration, RemovalPolicy, Stack } from "aws-cdk-lib";
import { PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Architecture, Code, Function, Runtime } from "aws-cdk-lib/aws-lambda";
import { LogGroup, RetentionDays } from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";

export interface FunctionSettings {
  readonly code: Code;
  readonly description: string;
  readonly environment: Record<string, string>;
  readonly timeout: Duration;
  readonly architecture?: Architecture;
  readonly memorySize?: number;
  readonly runtime?: Runtime;
  readonly handler?: string;
  readonly logRetention?: RetentionDays;
  readonly removalPolicy?: RemovalPolicy;
}

/** A function whose role may write its log. */
export function makeFunction(scope: Construct, id: string, settings: FunctionSettings): Function {
  const logGroup = new LogGroup(scope, `${id}Log`, {
    retention: settings.logRetention ?? RetentionDays.THREE_MONTHS,
    removalPolicy: settings.removalPolicy ?? RemovalPolicy.RETAIN,
  });
  const role = new Role(scope, `${id}Role`, {
    assumedBy: new ServicePrincipal("lambda.amazonaws.com"),
    description: settings.description,
  });
  // Not the managed policy, which is for all log groups of the account.
  role.addToPolicy(
    new PolicyStatement({
      actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
      resources: [logGroup.logGroupArn],
    }),
  );
  return new Function(scope, id, {
    architecture: settings.architecture ?? Architecture.X86_64,
    code: settings.code,
    description: settings.description,
    environment: settings.environment,
    handler: settings.handler ?? "bootstrap",
    logGroup,
    memorySize: settings.memorySize ?? 256,
    role,
    runtime: settings.runtime ?? Runtime.PROVIDED_AL2023,
    timeout: settings.timeout,
  });
}

/** The statements that let a role read the secrets that `references` name. */
export function mayRead(scope: Construct, references: string[]): PolicyStatement[] {
  const stack = Stack.of(scope);
  const arns = (prefix: string, named: (name: string) => string) =>
    references
      .filter((reference) => reference.startsWith(`${prefix}:`))
      .map((reference) => reference.slice(prefix.length + 1).split("#")[0])
      .map((name) => (name.startsWith("arn:") ? name : named(name)));
  const parameters = arns("ssm", (name) =>
    stack.formatArn({
      service: "ssm", resource: "parameter", resourceName: name.replace(/^\//, "").replace(/:\d+$/, ""),
    }),
  );
  // Behind the name of a secret its ARN has six characters that only AWS knows.
  const secrets = arns("secretsmanager", (name) =>
    stack.formatArn({
      service: "secretsmanager", resource: "secret", resourceName: `${name}-??????`,
      arnFormat: ArnFormat.COLON_RESOURCE_NAME,
    }),
  );
  const allow = (action: string, resources: string[]) =>
    resources.length > 0 ? [new PolicyStatement({ actions: [action], resources })] : [];
  return [...allow("ssm:GetParameter", parameters), ...allow("secretsmanager:GetSecretValue", secrets)];
}
