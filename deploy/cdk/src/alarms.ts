/**
 * Alarms for what people would notice later: errors, throttles, slowness, keys that nobody rotates.
 */
import { Duration } from "aws-cdk-lib";
import {
  Alarm, ComparisonOperator, IMetric, Metric, TreatMissingData,
} from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import { Function } from "aws-cdk-lib/aws-lambda";
import { ITopic } from "aws-cdk-lib/aws-sns";
import { Construct } from "constructs";
import { Address } from "./address";

export interface Alarms {
  /** An invocation of the issuer failed: it could not start, or a bug. */
  readonly errors: Alarm;
  /** Callers were turned away because too many asked at once. */
  readonly throttles: Alarm;
  /** Half of the time that callers wait at most. */
  readonly duration: Alarm;
  /** A turn of the rotation failed. */
  readonly rotationErrors: Alarm;
  /** No turn was taken while three were due. */
  readonly rotationMissing: Alarm;
  /**
   * Callers got 5xx, also those of an issuer without a store (503): what /readyz tells a server's.
   */
  readonly unavailable: Alarm;
}

const FEW = Duration.minutes(5);

export function alarms(
  scope: Construct, handler: Function, rotation: Function, every: Duration, address: Address, topic?: ITopic,
): Alarms {
  const make = (id: string, metric: IMetric, threshold: number, what: string, missing?: boolean) => {
    const alarm = new Alarm(scope, id, {
      alarmDescription: `Countersign: ${what}`,
      comparisonOperator: missing
        ? ComparisonOperator.LESS_THAN_THRESHOLD
        : ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      evaluationPeriods: missing ? 3 : 1,
      metric,
      threshold,
      treatMissingData: missing ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
    });
    if (topic) alarm.addAlarmAction(new SnsAction(topic));
    return alarm;
  };
  const limit = handler.timeout ?? Duration.seconds(10);
  const failed = serverErrors(address, handler.functionName);
  return {
    errors: make("ErrorsAlarm", handler.metricErrors({ period: FEW }), 1, "the issuer's function failed"),
    throttles: make("ThrottlesAlarm", handler.metricThrottles({ period: FEW }), 1, "calls were throttled"),
    duration: make(
      "DurationAlarm", handler.metricDuration({ period: FEW, statistic: "p99" }),
      limit.toMilliseconds() / 2, "one call in a hundred takes half of the time it has",
    ),
    rotationErrors: make(
      "RotationErrorsAlarm", rotation.metricErrors({ period: FEW }), 1, "a turn of the key rotation failed",
    ),
    rotationMissing: make(
      "RotationMissingAlarm", rotation.metricInvocations({ period: every }), 1,
      "the key rotation does not run", true,
    ),
    unavailable: make("UnavailableAlarm", failed, 1, "callers got errors 5xx"),
  };
}

function serverErrors({ httpApi, restApi }: Address, handlerName: string): Metric {
  const settings = { period: FEW, statistic: "Sum" };
  if (httpApi) return httpApi.metricServerError(settings);
  if (restApi) return restApi.metricServerError(settings);
  return new Metric({
    ...settings,
    namespace: "AWS/Lambda",
    metricName: "Url5xxCount",
    dimensionsMap: { FunctionName: handlerName },
  });
}
