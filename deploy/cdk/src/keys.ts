/**
 * The KMS keys of an issuer, and what its functions may do with them.
 *
 * The sealing key encrypts the private keys in the table. Its policy leaves its administration to
 * the account and its use to the issuer's two roles: nobody else decrypts, whatever their own
 * policies say. Signing keys in KMS are made by Countersign, under a tag with the issuer's URL,
 * and a role may touch no key without that tag.
 */
import { RemovalPolicy, Stack } from "aws-cdk-lib";
import { AccountRootPrincipal, IGrantable, PolicyDocument, PolicyStatement } from "aws-cdk-lib/aws-iam";
import { IKey, Key } from "aws-cdk-lib/aws-kms";
import { Construct } from "constructs";

const PURPOSE = { StringEquals: { "kms:EncryptionContext:purpose": "countersign-sealing" } };
/**
 * What an administrator does with a key; never decrypting or making data keys. Actions are named
 * one by one: `kms:Create*` includes `kms:CreateGrant`, with which anyone who has it in IAM can
 * grant themselves Decrypt without changing the policy.
 */
const ADMINISTRATION = [
  "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:Describe*", "kms:DisableKey",
  "kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:Get*", "kms:List*",
  "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource",
  "kms:UpdateAlias", "kms:UpdateKeyDescription",
];

export function sealingKey(scope: Construct, removalPolicy: RemovalPolicy): Key {
  return new Key(scope, "SealingKey", {
    description: "Countersign: encrypts the data key under which private keys are stored",
    enableKeyRotation: true,
    removalPolicy,
    policy: new PolicyDocument({
      statements: [
        new PolicyStatement({
          sid: "Administration",
          actions: ADMINISTRATION,
          principals: [new AccountRootPrincipal()],
          resources: ["*"],
        }),
      ],
    }),
  });
}

/** Lets a role open sealed keys and, with `make`, seal the first ones. */
export function mayUnseal(key: IKey, role: IGrantable, make: boolean): void {
  const actions = ["kms:Decrypt", ...(make ? ["kms:GenerateDataKey"] : [])];
  role.grantPrincipal.addToPrincipalPolicy(
    new PolicyStatement({ actions, resources: [key.keyArn], conditions: PURPOSE }),
  );
  // A key of this stack says the same; that of another one has its own policy.
  key.addToResourcePolicy(
    new PolicyStatement({
      actions, conditions: PURPOSE, principals: [role.grantPrincipal], resources: ["*"],
    }),
    true,
  );
}

/**
 * Lets a role sign with the KMS keys of this issuer and, with `make`, make and give up such keys; with `replicas`,
 * those in other regions too.
 */
export function maySign(
  scope: Construct, issuer: string, role: IGrantable, make: boolean, replicas: boolean,
): void {
  const where = replicas ? { region: "*" } : {};
  const keys = Stack.of(scope).formatArn({ service: "kms", resource: "key", resourceName: "*", ...where });
  const tag = (where: string) => ({ StringEquals: { [`aws:${where}/countersign-issuer`]: issuer } });
  const allow = (actions: string[], resource: string, conditions: object) =>
    role.grantPrincipal.addToPrincipalPolicy(
      new PolicyStatement({ actions, resources: [resource], conditions: conditions as never }),
    );
  allow(["kms:Sign", ...(make ? ["kms:GetPublicKey"] : [])], keys, tag("ResourceTag"));
  if (!make) return;
  allow(["kms:CreateKey", "kms:TagResource"], "*", tag("RequestTag"));
  const copy = ["kms:ReplicateKey", "kms:DescribeKey"];
  allow(["kms:ScheduleKeyDeletion", ...(replicas ? copy : [])], keys, tag("ResourceTag"));
  if (!replicas) return;
  // KMS keeps multi-Region keys in step by a role of its own, which the first of them in an account makes.
  const service = "mrk.kms.amazonaws.com";
  const own = Stack.of(scope).formatArn({
    service: "iam", region: "", resource: "role", resourceName: `aws-service-role/${service}/*`,
  });
  allow(["iam:CreateServiceLinkedRole"], own, { StringEquals: { "iam:AWSServiceName": service } });
}
