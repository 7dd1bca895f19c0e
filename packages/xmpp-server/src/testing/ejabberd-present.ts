import { existsSync } from "node:fs";

/** Why tests with ejabberd cannot run here, to be shown beside their name; `undefined` where it is installed. For tests. */
export function ejabberdIsMissing(): string | undefined {
  const needed = ["/usr/sbin/ejabberdctl", "/usr/bin/erl"].filter((path) => !existsSync(path));
  if (needed.length === 0) return undefined;
  const why = ` (skipped: ${needed.join(" and ")} not installed; apt-get install --no-install-recommends ejabberd)`;
  process.stderr.write(`tests with ejabberd are left out${why}\n`);
  return why;
}
