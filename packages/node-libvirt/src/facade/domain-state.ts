/** `virDomainState` by name; `unknown` for a number this library does not know. */
export type DomainState =
  | "none"
  | "running"
  | "blocked"
  | "paused"
  | "shutdown"
  | "shutoff"
  | "crashed"
  | "pmsuspended"
  | "unknown";

/** `virDomainEventType` by name; `unknown` for a number this library does not know. */
export type LifecycleEvent =
  | "defined"
  | "undefined"
  | "started"
  | "suspended"
  | "resumed"
  | "stopped"
  | "shutdown"
  | "pmsuspended"
  | "crashed"
  | "unknown";

const STATES: readonly DomainState[] = [
  "none",
  "running",
  "blocked",
  "paused",
  "shutdown",
  "shutoff",
  "crashed",
  "pmsuspended",
];

const EVENTS: readonly { readonly event: LifecycleEvent; readonly details: readonly string[] }[] = [
  { event: "defined", details: ["added", "updated", "renamed", "from-snapshot"] },
  { event: "undefined", details: ["removed", "renamed"] },
  { event: "started", details: ["booted", "migrated", "restored", "from-snapshot", "wakeup"] },
  {
    event: "suspended",
    details: [
      "paused",
      "migrated",
      "io-error",
      "watchdog",
      "restored",
      "from-snapshot",
      "api-error",
      "postcopy",
      "postcopy-failed",
    ],
  },
  { event: "resumed", details: ["unpaused", "migrated", "from-snapshot", "postcopy", "postcopy-failed"] },
  {
    event: "stopped",
    details: ["shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from-snapshot"],
  },
  { event: "shutdown", details: ["finished", "guest", "host"] },
  { event: "pmsuspended", details: ["memory", "disk"] },
  { event: "crashed", details: ["panicked", "crashloaded"] },
];

/** The name of a `virDomainState`. */
export function domainState(number: number): DomainState {
  return STATES[number] ?? "unknown";
}

/** The names of a lifecycle event and of its detail (`virDomainEventType` and what belongs to each). */
export function lifecycleEvent(event: number, detail: number): { event: LifecycleEvent; detail: string } {
  const row = EVENTS[event];
  return { event: row?.event ?? "unknown", detail: row?.details[detail] ?? "unknown" };
}
