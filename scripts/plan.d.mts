/** What Muster needs from the operating system. */
export interface DebianPackage {
  readonly name: string;
  readonly why: string;
  readonly files: readonly string[];
  readonly service?: string | readonly string[];
  readonly only?: "tests";
}

/** What set-up has found out about a machine. */
export interface Facts {
  readonly nodeVersion: string;
  readonly platform: string;
  readonly processor: string;
  readonly bundledNode: boolean;
  readonly npmReason: string | null;
  readonly hasNpm: boolean;
  readonly missing: readonly string[];
  readonly isRoot: boolean;
  readonly hasApt: boolean;
  readonly guestsPutOff: boolean;
}

/** What is to be installed; with a refusal, nothing. */
export interface Plan {
  readonly npm: string | null;
  readonly debian: readonly DebianPackage[];
  readonly guests: readonly DebianPackage[];
  readonly refusal: string | null;
}

export const DEBIAN_PACKAGES: readonly DebianPackage[];
export const GUEST_PACKAGES: readonly DebianPackage[];
export function runsTypeScript(version: string): boolean;
export function parseDpkg(output: string): string[];
export function npmReason(lock: string, installed: string | null): string | null;
export function decide(facts: Facts): Plan;
