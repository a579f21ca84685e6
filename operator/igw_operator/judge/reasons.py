"""Why a condition is as it is: every word that may stand in REASON, and how grave it is.

One enum for all conditions of both kinds. The words are an interface: people put them into
alerts and scripts, so a member may be added, but never renamed. The tables below say what
follows from a reason; they are all that the other modules of this room know about it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """One stable CamelCase word per cause."""

    # As asked.
    SERVING = "Serving"  # every replica that is asked for runs the asked revision and is ready
    SCALED_TO_ZERO = "ScaledToZero"  # zero replicas are asked for, and there are none
    PARTIAL_CAPACITY = "PartialCapacity"  # some replicas answer, fewer than asked for
    ACCEPTED = "Accepted"  # a runtime's spec is valid
    AUTOSCALING = "Autoscaling"  # the autoscaler reads its metrics and can scale
    AT_MAX_REPLICAS = "AtMaxReplicas"  # the autoscaler works, but wants more than maxReplicas
    FIXED_REPLICAS = "FixedReplicas"  # no autoscaler is asked for, and there is none
    COLLECTOR_AVAILABLE = "CollectorAvailable"  # the gateway's own collector runs
    ROUTE_ACCEPTED = "RouteAccepted"  # every Gateway has accepted the route and resolved it
    MONITORED = "Monitored"  # a Prometheus scrapes every pod and evaluates the rules
    WITHIN_BUDGET = "WithinBudget"  # something is left of every error budget
    DRILL_DELIVERED = "DrillDelivered"  # an Alertmanager had the alert drill, and passed it on
    NOT_HELD = "NotHeld"  # no template change is waiting
    AWAITING_WAVE = "AwaitingWave"  # the runtime changes, and the gateway's wave has not begun
    WAVES_PAUSED = "WavesPaused"  # spec.rollout.paused of the runtime is true
    OPERATOR_CHANGE = "OperatorChange"  # only a new version of the operator wants the change

    # On the way: nothing is known to be wrong.
    PROGRESSING = "Progressing"  # replicas of the asked revision are still starting
    REPLICAS_STARTING = (
        "ReplicasStarting"  # the revision is complete, replicas are added or replaced
    )
    SCALING = "Scaling"  # the number of replicas is not yet within the bounds that are asked for
    APPLYING = "Applying"  # a child was not yet seen as it is asked for
    DELETING = "Deleting"  # the gateway is being deleted
    ROLLING_OUT = "RollingOut"  # a runtime's gateways move to another revision, wave by wave
    STARTING = "Starting"  # a child exists, its controller has not judged it yet
    DRILL_PENDING = "DrillPending"  # an alert drill has not got to its end yet

    # Nobody knows.
    NOT_VERIFIED = "NotVerified"  # the objects are there; their effect has not been proven
    NO_DATA = "NoData"  # no SLO reading exists
    NO_TRAFFIC = "NoTraffic"  # the rules record, and no request has counted yet
    TOO_LITTLE_HISTORY = "TooLittleHistory"  # a budget is gone, of a window that has just begun
    AWAITING_PROMETHEUS = "AwaitingPrometheus"  # Prometheus has not taken all of it up yet
    AWAITING_SETTINGS = "AwaitingSettings"  # a pod does not follow the live settings yet
    PROMETHEUS_NOT_FOUND = "PrometheusNotFound"  # no Prometheus object, and no address is set
    PROMETHEUS_UNREACHABLE = "PrometheusUnreachable"  # Prometheus does not answer the operator
    DRILL_FIRED = "DrillFired"  # Prometheus fires the drill; whether it arrives, nobody can say
    ROUTE_PENDING = "RoutePending"  # a Gateway's controller has not judged the route yet

    # Chosen by the owner.
    MONITORING_DISABLED = "MonitoringDisabled"  # spec.observability.metrics.enabled is false
    TELEMETRY_DISABLED = "TelemetryDisabled"  # no spans, or no collector, are asked for

    # The request itself.
    INVALID_SPEC = "InvalidSpec"  # the spec cannot be done; the message has the field paths
    RUNTIME_NOT_FOUND = "RuntimeNotFound"  # no such InferenceRuntime, or no default one
    AMBIGUOUS_DEFAULT = "AmbiguousDefault"  # several runtimes are marked as the default one
    INVALID_RUNTIME = "InvalidRuntime"  # the InferenceRuntime's spec cannot be done

    # Writing the children.
    FOREIGN_OBJECT = "ForeignObject"  # an object of a child's name belongs to somebody else
    FIELD_CONTESTED = "FieldContested"  # somebody sets a child's field back again and again
    APPLY_FORBIDDEN = "ApplyForbidden"  # the API server does not let the operator write a child
    APPLY_REJECTED = "ApplyRejected"  # the API server finds a child invalid
    APPLY_FAILED = "ApplyFailed"  # a child could not be written; it is tried again

    # The runtime's own last words (igw_runtime.errors), shown as it says them.
    INVALID_SETTINGS = "InvalidSettings"  # exit 78
    MODEL_NOT_FOUND = "ModelNotFound"  # exit 66, or the runtime is known not to carry it
    MODEL_DIGEST_MISMATCH = "ModelDigestMismatch"  # exit 65
    MODEL_LOAD_FAILED = "ModelLoadFailed"  # exit 70
    GOLDEN_CHECK_FAILED = "GoldenCheckFailed"  # exit 70

    # The collector's own last words, after it has looked at its configuration.
    COLLECTOR_CONFIG_REJECTED = "CollectorConfigRejected"  # the new one does not start with it

    # Pods, as the kubelet and the scheduler tell it.
    OUT_OF_MEMORY = "OutOfMemory"  # a container was killed at its memory limit
    IMAGE_PULL_FAILED = "ImagePullFailed"  # an image cannot be had
    CONTAINER_CONFIG_ERROR = "CreateContainerConfigError"  # a Secret, ConfigMap or user is wrong
    CONTAINER_CANNOT_START = "ContainerCannotStart"  # the container runtime refuses to start it
    CRASH_LOOP = "CrashLoop"  # a container exits and is started again
    VOLUME_CLAIM_NOT_FOUND = "VolumeClaimNotFound"  # a pod names a claim that does not exist
    VOLUME_CLAIM_UNBOUND = "VolumeClaimUnbound"  # a claim has no volume yet
    VOLUME_MOUNT_FAILED = "VolumeMountFailed"  # a volume cannot be attached or mounted
    POD_SECURITY_VIOLATION = "PodSecurityViolation"  # the namespace's Pod Security forbids it
    QUOTA_EXCEEDED = "QuotaExceeded"  # a ResourceQuota leaves no room
    POD_CREATION_FAILED = "PodCreationFailed"  # pods cannot be created for another reason
    UNSCHEDULABLE = "Unschedulable"  # no node takes a pod
    NODE_NOT_READY = "NodeNotReady"  # a pod's node does not answer
    EVICTED = "Evicted"  # a pod was thrown off its node
    PROBE_FAILING = "ProbeFailing"  # a container runs, and fails its probe

    # The Deployment as a whole.
    ROLLOUT_PAUSED = "RolloutPaused"  # somebody paused the Deployment
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"  # no progress, cause unknown

    # The rollout of a runtime.
    GATEWAY_FAILING = "GatewayFailing"  # a gateway took the revision and is not Ready any more

    # The autoscaler, monitoring and telemetry.
    AUTOSCALER_MISSING = "AutoscalerMissing"  # the autoscaler that is asked for does not exist
    AUTOSCALER_LEFT_OVER = "AutoscalerLeftOver"  # an autoscaler that nobody asks for still acts
    AUTOSCALER_OFF = "AutoscalerOff"  # somebody scaled to zero, which switches an autoscaler off
    CANNOT_SCALE = "CannotScale"  # the autoscaler cannot read or set the replicas
    METRICS_UNAVAILABLE = "MetricsUnavailable"  # the autoscaler does not get all of its metrics
    CUSTOM_METRICS_UNAVAILABLE = "CustomMetricsUnavailable"  # two targets need an absent API
    GATEWAY_API_MISSING = "GatewayApiMissing"  # a route is asked for, and the CRDs are absent
    CUSTOM_METRICS_MISSING = "CustomMetricsMissing"  # that API is there and lacks a metric of them
    KEDA_UNAVAILABLE = "KedaUnavailable"  # KEDA is asked for, and the cluster lacks its CRD
    KEDA_NOT_READY = "KedaNotReady"  # KEDA cannot do what the ScaledObject says, or is not there
    SCALING_PAUSED = "ScalingPaused"  # somebody paused the ScaledObject
    OPENTELEMETRY_OPERATOR_MISSING = "OpenTelemetryOperatorMissing"  # the cluster lacks its CRD
    PROMETHEUS_OPERATOR_MISSING = "PrometheusOperatorMissing"  # the cluster lacks its CRDs

    SPANS_LOST = "SpansLost"  # spans are lost between the runtime and the trace backend

    # Monitoring and objectives, as Prometheus itself tells it.
    NOT_SELECTED = "NotSelected"  # no Prometheus object selects both monitor and rules
    TARGET_DOWN = "TargetDown"  # Prometheus cannot scrape a pod
    TARGET_MISSING = "TargetMissing"  # Prometheus does not know a pod
    RULES_FAILING = "RulesFailing"  # Prometheus cannot evaluate a rule
    RULES_NOT_LOADED = "RulesNotLoaded"  # Prometheus lacks the rules, or has those of before
    SETTINGS_NOT_IN_FORCE = "SettingsNotInForce"  # a pod still follows other live settings
    OPERATOR_NOT_SCRAPED = "OperatorNotScraped"  # Prometheus lacks what the operator says of it
    NAMESPACE_ENFORCED = "NamespaceEnforced"  # Prometheus overwrites what the operator says
    BUDGET_EXHAUSTED = "BudgetExhausted"  # nothing is left of an error budget
    DRILL_REFUSED = "DrillRefused"  # the alert drill that is asked for cannot be done
    DRILL_NOT_SEEN = "DrillNotSeen"  # no Prometheus fired the drill within its time
    DRILL_NOT_DELIVERED = "DrillNotDelivered"  # Prometheus fired it, and no Alertmanager got it
    DRILL_KEPT_BACK = "DrillKeptBack"  # Alertmanager has it, and notifies nobody

    # The route: what Gateway API's controllers say, in the words that the API gives them.
    # https://gateway-api.sigs.k8s.io/reference/spec/#routeconditionreason
    NOT_ALLOWED_BY_LISTENERS = "NotAllowedByListeners"  # no listener takes routes from here
    NO_MATCHING_LISTENER_HOSTNAME = "NoMatchingListenerHostname"  # no listener has such a host
    NO_MATCHING_PARENT = "NoMatchingParent"  # the Gateway has no such listener
    UNSUPPORTED_VALUE = "UnsupportedValue"  # the controller cannot do a part of the route
    INCOMPATIBLE_FILTERS = "IncompatibleFilters"  # the controller cannot rewrite the path
    REF_NOT_PERMITTED = "RefNotPermitted"  # the controller may not use the Service
    INVALID_KIND = "InvalidKind"  # the controller takes no Service for a backend
    BACKEND_NOT_FOUND = "BackendNotFound"  # the controller does not find the Service
    UNSUPPORTED_PROTOCOL = "UnsupportedProtocol"  # the controller cannot speak to the Service
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"  # a controller refuses the route in other words
    PARENT_NOT_FOUND = "ParentNotFound"  # there is no such Gateway
    PARENT_NOT_PROGRAMMED = "ParentNotProgrammed"  # the Gateway itself does not work


SEVERITY: Final = (
    # What the runtime says of itself is the cause; what others say of it is a symptom.
    Reason.INVALID_SETTINGS,
    Reason.MODEL_NOT_FOUND,
    Reason.MODEL_DIGEST_MISMATCH,
    Reason.MODEL_LOAD_FAILED,
    Reason.GOLDEN_CHECK_FAILED,
    Reason.COLLECTOR_CONFIG_REJECTED,
    Reason.OUT_OF_MEMORY,
    # The container never ran.
    Reason.IMAGE_PULL_FAILED,
    Reason.CONTAINER_CONFIG_ERROR,
    Reason.CONTAINER_CANNOT_START,
    # It ran, and nobody knows why it ended.
    Reason.CRASH_LOOP,
    # The pod never started.
    Reason.VOLUME_CLAIM_NOT_FOUND,
    Reason.VOLUME_CLAIM_UNBOUND,
    Reason.VOLUME_MOUNT_FAILED,
    # The pod was never made. Fewer pods is better than broken ones.
    Reason.POD_SECURITY_VIOLATION,
    Reason.QUOTA_EXCEEDED,
    Reason.POD_CREATION_FAILED,
    Reason.UNSCHEDULABLE,
    # It served once.
    Reason.NODE_NOT_READY,
    Reason.EVICTED,
    Reason.PROBE_FAILING,
    # Only when no pod says anything.
    Reason.ROLLOUT_PAUSED,
    Reason.PROGRESS_DEADLINE_EXCEEDED,
)
"""What a workload's diagnosis may say, worst first: the first one found is the reason."""

RUNTIME_WORDS: Final = frozenset(
    {
        Reason.INVALID_SETTINGS,
        Reason.MODEL_NOT_FOUND,
        Reason.MODEL_DIGEST_MISMATCH,
        Reason.MODEL_LOAD_FAILED,
        Reason.GOLDEN_CHECK_FAILED,
    }
)
"""Reasons that the runtime writes into its termination message."""

STALLED: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.RUNTIME_NOT_FOUND,
        Reason.AMBIGUOUS_DEFAULT,
        Reason.INVALID_RUNTIME,
        Reason.FOREIGN_OBJECT,
        Reason.FIELD_CONTESTED,
        Reason.APPLY_FORBIDDEN,
        Reason.APPLY_REJECTED,
        Reason.INVALID_SETTINGS,
        Reason.MODEL_NOT_FOUND,
        Reason.MODEL_DIGEST_MISMATCH,
        Reason.AUTOSCALER_LEFT_OVER,
        Reason.AUTOSCALER_OFF,
        Reason.ROLLOUT_PAUSED,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
    }
)
"""Reasons that no waiting cures. A wrong image tag is not among them: a push may cure it, and
the Deployment's own deadline ends the hope. Nor is a failed load, which may be one bad node."""

WAITING: Final = frozenset(
    {
        Reason.PROGRESSING,
        Reason.REPLICAS_STARTING,
        Reason.SCALING,
        Reason.APPLYING,
        Reason.DELETING,
        Reason.STARTING,
        Reason.DRILL_PENDING,
        Reason.AWAITING_PROMETHEUS,
        Reason.AWAITING_SETTINGS,
        Reason.ROLLING_OUT,
        Reason.AWAITING_WAVE,
        Reason.WAVES_PAUSED,
        Reason.OPERATOR_CHANGE,
    }
)
"""Reasons that need no eye and no event."""

CHOSEN: Final = frozenset(
    {Reason.SCALED_TO_ZERO, Reason.MONITORING_DISABLED, Reason.TELEMETRY_DISABLED}
)
"""Reasons that are as the owner asked, though the condition is False."""
