/**
 * The public documents in a bucket behind CloudFront: discovery and keys are there however cold or
 * broken the function is. CloudFront sends every other path to the API, so that the issuer has one
 * address. The revocation list is among those: it is signed on request and is not in the bucket.
 */
import { ArnFormat, RemovalPolicy, Stack } from "aws-cdk-lib";
import {
  AllowedMethods, BehaviorOptions, CachePolicy, Distribution, HttpVersion, OriginRequestPolicy,
  ResponseHeadersPolicy, ViewerProtocolPolicy,
} from "aws-cdk-lib/aws-cloudfront";
import { HttpOrigin, S3BucketOrigin } from "aws-cdk-lib/aws-cloudfront-origins";
import { IGrantable, PolicyStatement } from "aws-cdk-lib/aws-iam";
import { BlockPublicAccess, Bucket, BucketEncryption } from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import { Address, emulator } from "./address";

/** The paths of documents that `countersign publish` writes. */
const PUBLISHED = [".well-known/*", "public-keys", "asap/*"];
/** Paths under `.well-known/*` that only the function can answer. */
const ANSWERED = [".well-known/revoked.jwt", ".well-known/oauth-protected-resource*"];

export interface Documents {
  readonly bucket: Bucket;
  readonly distribution: Distribution;
  /** `https://….cloudfront.net` */
  readonly url: string;
}

export function documents(scope: Construct, address: Address, removalPolicy: RemovalPolicy): Documents {
  const bucket = new Bucket(scope, "Documents", {
    blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
    encryption: BucketEncryption.S3_MANAGED,
    // An emulator is asked in plain HTTP.
    enforceSSL: emulator(scope) === undefined,
    removalPolicy,
  });
  const origin = S3BucketOrigin.withOriginAccessControl(bucket);
  const published: BehaviorOptions = {
    origin,
    allowedMethods: AllowedMethods.ALLOW_GET_HEAD,
    // Its least time is a second, so that the documents' own Cache-Control decides.
    cachePolicy: CachePolicy.CACHING_OPTIMIZED,
    responseHeadersPolicy: ResponseHeadersPolicy.CORS_ALLOW_ALL_ORIGINS,
    viewerProtocolPolicy: ViewerProtocolPolicy.HTTPS_ONLY,
  };
  const answered: BehaviorOptions = {
    origin: apiOrigin(scope, address),
    allowedMethods: AllowedMethods.ALLOW_ALL,
    cachePolicy: CachePolicy.CACHING_DISABLED,
    originRequestPolicy: OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
    viewerProtocolPolicy: ViewerProtocolPolicy.HTTPS_ONLY,
  };
  const distribution = new Distribution(scope, "Distribution", {
    comment: "Countersign: the issuer and its public documents",
    httpVersion: HttpVersion.HTTP2_AND_3,
    defaultBehavior: answered,
    // CloudFront uses the first behavior whose pattern matches the path.
    additionalBehaviors: Object.fromEntries([
      ...ANSWERED.map((path) => [path, answered]),
      ...PUBLISHED.map((path) => [path, published]),
    ]),
  });
  return { bucket, distribution, url: `https://${distribution.distributionDomainName}` };
}

function apiOrigin(scope: Construct, { httpApi, restApi, stagePath }: Address): HttpOrigin {
  const stack = Stack.of(scope);
  const id = httpApi?.apiId ?? restApi?.restApiId;
  if (id === undefined) {
    throw new Error("documents need an API in front of the function: entry http-api or rest-api");
  }
  return new HttpOrigin(`${id}.execute-api.${stack.region}.${stack.urlSuffix}`, {
    originPath: stagePath,
  });
}

/**
 * Lets a role write the documents and take what changed out of CloudFront's caches
 * (docs/publishing.md).
 */
export function mayPublish({ bucket, distribution }: Documents, role: IGrantable): void {
  const allow = (actions: string[], resource: string) =>
    role.grantPrincipal.addToPrincipalPolicy(new PolicyStatement({ actions, resources: [resource] }));
  allow(["s3:GetObject", "s3:PutObject"], bucket.arnForObjects("*"));
  allow(["s3:DeleteObject"], bucket.arnForObjects("asap/*"));
  allow(["s3:ListBucket"], bucket.bucketArn);
  const arn = Stack.of(distribution).formatArn({
    service: "cloudfront", region: "", resource: "distribution",
    resourceName: distribution.distributionId, arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
  });
  allow(["cloudfront:CreateInvalidation", "cloudfront:GetInvalidation"], arn);
}
