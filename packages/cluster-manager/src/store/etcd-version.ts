/** The first etcd with the fix for members that silently disagree after a crash. */
const SOUND_VERSION = [3, 5, 14] as const;
/** What is wrong with one before it, as the end of a sentence. */
export const UNSOUND = `is older than ${SOUND_VERSION.join(".")}: after a crash its members may silently disagree`;

export function isUnsound(version: string): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, least] of SOUND_VERSION.entries()) {
    const part = parts[index] ?? 0;
    if (part !== least) return part < least;
  }
  return false;
}
