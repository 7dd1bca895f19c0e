// Counts of a test run, and the line that closes it.

/**
 * Counts tests by outcome. A file that cannot be loaded, a hook that fails and an error outside of any test
 * count as failures of their own, so that none can hide behind passed tests.
 */
export function tally(modules, unhandledErrors) {
  const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
  for (const module of modules) {
    counts.failed += module.errors().length;
    for (const suite of module.children.allSuites()) counts.failed += suite.errors().length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      counts[state === "passed" || state === "failed" ? state : "skipped"] += 1;
    }
  }
  return counts;
}

/** The closing line and the exit code; a run that broke off, or failed without a failed test, counts as one failure. */
export function closingLine(counts, code) {
  const { passed, failed, skipped } = counts ?? { passed: 0, failed: 0, skipped: 0 };
  const failures = failed === 0 && code !== 0 ? 1 : failed;
  const exitCode = code === 0 && failures > 0 ? 1 : code;
  return { line: `${passed} passed, ${failures} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`, exitCode };
}
