/** Tests of a run by outcome. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The part of vitest's TestModule that is counted. */
export interface CountedModule {
  errors(): readonly unknown[];
  readonly children: {
    allSuites(): Iterable<{ errors(): readonly unknown[] }>;
    allTests(): Iterable<{ result(): { readonly state: string } }>;
  };
}

export function tally(modules: readonly CountedModule[], unhandledErrors: readonly unknown[]): Counts;
export function closingLine(counts: Counts | null, code: number): { line: string; exitCode: number };
