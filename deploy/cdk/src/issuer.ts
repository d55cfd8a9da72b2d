/**
 * An issuer on Lambda: two functions of one package, a table, a sealing key, a schedule, alarms.
 *
 * The function that answers the world opens sealed keys and signs; it makes no key and publishes
 * nothing. The rotation is a function of its own, which only the schedule may invoke (and the
 * deployment, once). Nobody else is given anything: docs/lambda.md has what each right is for.
 */
import { Duration, RemovalPolicy } from "aws-cdk-lib";
import { RestApi } from "aws-cdk-lib/aws-apigateway";
import { HttpApi } from "aws-cdk-lib/aws-apigatewayv2";
import { AttributeType, BillingMode, ITable, Table } from "aws-cdk-lib/aws-dynamodb";
import { Rule, Schedule } from "aws-cdk-lib/aws-events";
import { LambdaFunction } from "aws-cdk-lib/aws-events-targets";
import { PolicyStatement } from "aws-cdk-lib/aws-iam";
import { IKey } from "aws-cdk-lib/aws-kms";
import { Architecture, Function, FunctionUrl } from "aws-cdk-lib/aws-lambda";
import { RetentionDays } from "aws-cdk-lib/aws-logs";
import { ITopic } from "aws-cdk-lib/aws-sns";
import { Construct, IDependable } from "constructs";
import { Entry, addressOf, emulator, publicUrl, resources, urlOf } from "./address";
import { Alarms, alarms } from "./alarms";
import { Documents, documents, mayPublish } from "./documents";
import { firstTurn } from "./first-turn";
import { makeFunction, mayRead } from "./function";
import { mayUnseal, maySign, sealingKey } from "./keys";
import { codeOf } from "./package";
import { Settings, check, references, variables, withDefaults } from "./settings";

const TABLE_ACTIONS = ["DescribeTable", "GetItem", "PutItem", "DeleteItem", "Scan"];

export interface CountersignIssuerProps {
  /**
   * The package: a zip with a `bootstrap`, as `scripts/package` makes it
   * (`dist/issuer-x86_64.zip`).
   */
  readonly code: string;
  /** What the package was built for. @default X86_64 */
  readonly architecture?: Architecture;
  /** By what the issuer is reached. @default "http-api" */
  readonly entry?: Entry;
  /**
   * Also a function URL, beside the API. Its requests pass no throttle and no WAF of an API.
   * @default false
   */
  readonly functionUrl?: boolean;
  /** The stage of a REST API, which is part of the issuer's URL. @default "prod" */
  readonly stageName?: string;
  /**
   * The issuer, if it is not the address of the API: that of a custom domain, with its base path.
   */
  readonly issuerUrl?: string;
  /**
   * Settings as in `countersign.toml`; secrets only as references `ssm:/NAME`,
   * `secretsmanager:ARN`.
   */
  readonly settings?: Settings;
  /** A `countersign.toml` that is put beside the `bootstrap`; `settings` win over it. */
  readonly configFile?: string;
  /** Further variables, like `JAAS_APP_ID`, `JAAS_API_KID` and `PRIVATE_KEY` (a reference). */
  readonly environment?: Record<string, string>;
  /** A symmetric KMS key to seal with. @default one of its own, which only the issuer may use */
  readonly sealingKey?: IKey;
  /** The KMS keys that SecureStrings and secrets are encrypted with, if they are not AWS's own. */
  readonly secretKeys?: IKey[];
  /**
   * A table with the string `key` as its partition key, for this issuer alone. @default one of its
   * own
   */
  readonly table?: ITable;
  /** Whether rings have their keys in KMS. @default whether `settings` has `signer: "kms"` */
  readonly kmsSigners?: boolean;
  /** Whether those have replicas in other regions. @default whether `settings` has `kms_replicas` */
  readonly kmsReplicas?: boolean;
  /**
   * Whether a table without keys gets the first ones. "refuse" where a table was copied. @default
   * "create"
   */
  readonly firstKeys?: "create" | "refuse";
  /** How often the rotation takes a turn. @default 5 minutes */
  readonly rotateEvery?: Duration;
  /**
   * The public documents in S3 behind CloudFront, which then is the issuer's address. @default
   * false
   */
  readonly documents?: boolean;
  /** Whether there are alarms. @default true */
  readonly alarms?: boolean;
  /** Who is told by the alarms. */
  readonly alarmTopic?: ITopic;
  /** @default 256 MB */
  readonly memorySize?: number;
  /** @default three months */
  readonly logRetention?: RetentionDays;
  /**
   * What becomes of table, sealing key, bucket and logs when the stack goes. @default RETAIN, with
   * the table protected
   */
  readonly removalPolicy?: RemovalPolicy;
}

export class CountersignIssuer extends Construct {
  /** The issuer, `iss` of its tokens. */
  public readonly issuerUrl: string;
  /** Answers requests. */
  public readonly handler: Function;
  /** Rotates the keys. */
  public readonly rotation: Function;
  public readonly table: ITable;
  public readonly sealingKey: IKey;
  public readonly httpApi?: HttpApi;
  public readonly restApi?: RestApi;
  public readonly functionUrl?: FunctionUrl;
  /** Where the function URL leads, without a slash at the end. */
  public readonly functionUrlAddress?: string;
  public readonly documents?: Documents;
  public readonly alarms?: Alarms;
  /** What needs an issuer that answers, like the JWT authorizer of an HTTP API, depends on this. */
  public readonly ready: IDependable;

  constructor(scope: Construct, id: string, props: CountersignIssuerProps) {
    super(scope, id);
    const removalPolicy = props.removalPolicy ?? RemovalPolicy.RETAIN;
    const address = addressOf(this, props.entry ?? "http-api", props.stageName ?? "prod");
    if (address.variables && props.configFile && !props.issuerUrl) {
      throw new Error(
        "the issuer of a function URL takes settings and no configFile, unless it is given an issuerUrl",
      );
    }
    this.httpApi = address.httpApi;
    this.restApi = address.restApi;
    this.documents = props.documents ? documents(this, address, removalPolicy) : undefined;
    this.table = props.table ?? makeTable(this, removalPolicy);
    this.sealingKey = props.sealingKey ?? sealingKey(this, removalPolicy);

    // An emulator's CloudFront has no address that leads to it.
    const given = props.issuerUrl ?? (emulator(this) ? undefined : this.documents?.url);
    const told = given || !address.variables ? undefined : address;
    const every = props.rotateEvery ?? Duration.minutes(5);
    const settings = withDefaults(props.settings ?? {}, {
      store: { url: `dynamodb://${this.table.tableName}` },
      sealing: { key: `kms:${this.sealingKey.keyArn}` },
      rotation: { observe_every: `${every.toSeconds()}s` },
      ...(told ? {} : { issuer: given ?? address.url }),
    });
    const environment = { ...variables(settings), ...told?.variables, ...props.environment };
    const rotating = {
      ...environment,
      ...variables({ store: { first_keys: props.firstKeys ?? "create" }, ...this.publish() }),
    };
    check(rotating);

    const common = { ...props, code: codeOf(props.code, props.configFile), removalPolicy };
    this.handler = makeFunction(this, "Handler", {
      ...common, description: "Countersign: the issuer", environment, timeout: Duration.seconds(10),
    });
    this.rotation = makeFunction(this, "Rotation", {
      ...common,
      description: "Countersign: the rotation of the issuer's keys",
      environment: rotating,
      timeout: Duration.minutes(1),
    });
    const attached = address.attach(this.handler);
    this.functionUrl = address.functionUrl ?? (props.functionUrl ? publicUrl(this.handler) : undefined);
    this.functionUrlAddress = this.functionUrl && urlOf(this, this.functionUrl);
    this.issuerUrl = given ?? address.url;
    this.permit(props, environment, told ? address.references : []);

    new Rule(this, "Schedule", {
      description: "Countersign: the rotation of the issuer's keys",
      schedule: Schedule.rate(every),
      targets: [new LambdaFunction(this.rotation, { retryAttempts: 2 })],
    });
    const turn = firstTurn(this, "FirstTurn", {
      ...props,
      removalPolicy,
      rotation: this.rotation,
      // Where a domain of its own leads is not for this stack to wait for.
      discovery: props.issuerUrl ? undefined : `${this.issuerUrl}/.well-known/openid-configuration`,
      settings: JSON.stringify(rotating),
    });
    turn.node.addDependency(...resources(attached), this.rotation, this.handler);
    this.ready = turn;
    if (props.alarms !== false) {
      this.alarms = alarms(this, this.handler, this.rotation, every, address, props.alarmTopic);
    }
  }

  /** What the rotation publishes, and where. */
  private publish(): Settings {
    if (!this.documents) return {};
    const { bucket, distribution } = this.documents;
    const target = `s3://${bucket.bucketName}`;
    return { publish: { target, cloudfront: distribution.distributionId } };
  }

  private permit(
    props: CountersignIssuerProps, environment: Record<string, string>, own: string[],
  ): void {
    const rings = JSON.stringify(props.settings?.rings ?? {});
    const kmsSigners = props.kmsSigners ?? rings.includes('"signer":"kms"');
    const replicas = props.kmsReplicas ?? /"kms_replicas":\[[^\]]/.test(rings);
    const named = references(environment).filter((one) => !own.includes(one));
    const read = mayRead(this, [...named, ...own]);
    for (const [role, make] of [[this.handler, false], [this.rotation, true]] as const) {
      role.addToRolePolicy(
        new PolicyStatement({
          actions: TABLE_ACTIONS.map((one) => `dynamodb:${one}`),
          resources: [this.table.tableArn],
        }),
      );
      mayUnseal(this.sealingKey, role, make);
      if (kmsSigners) maySign(this, this.issuerUrl, role, make, replicas);
      read.forEach((statement) => role.addToRolePolicy(statement));
      props.secretKeys?.forEach((key) => key.grantDecrypt(role));
    }
    if (this.documents) mayPublish(this.documents, this.rotation);
  }
}

function makeTable(scope: Construct, removalPolicy: RemovalPolicy): Table {
  return new Table(scope, "Table", {
    billingMode: BillingMode.PAY_PER_REQUEST,
    deletionProtection: removalPolicy !== RemovalPolicy.DESTROY,
    partitionKey: { name: "key", type: AttributeType.STRING },
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    removalPolicy,
    timeToLiveAttribute: "ttl",
  });
}
