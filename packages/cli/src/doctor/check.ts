/** One thing that the doctor looked at, and what to do where it is not well. */
export type Check = {
  readonly name: string;
  readonly verdict: "ok" | "warn" | "fail";
  readonly message: string;
  readonly remedy: string;
};

export function well(name: string, message: string): Check {
  return { name, verdict: "ok", message, remedy: "" };
}

export function worry(name: string, message: string, remedy: string): Check {
  return { name, verdict: "warn", message, remedy };
}

export function ill(name: string, message: string, remedy: string): Check {
  return { name, verdict: "fail", message, remedy };
}
