/** A stored text as its value; throws with the name of the key where it is no JSON. */
export function readValue(key: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`the record ${key} is no JSON; restore the store from a backup`, { cause });
  }
}
