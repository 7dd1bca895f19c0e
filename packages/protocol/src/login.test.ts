import { describe, expect, it } from "vitest";
import { sshKeySchema, USER_DATA_BYTES_MAX, userDataSchema } from "./login.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFKzU/pmk4/AJzFCCrVoO/otriMUiT2reE1nsFYZ9boi";

describe("S1: a key is a public key", () => {
  it.each([KEY, `${KEY} ada@example`, `${KEY} Ada's key, 2026`])("takes %s", (line) => {
    expect(sshKeySchema.safeParse(line).success).toBe(true);
  });

  it.each([
    ["another kind than its blob says", KEY.replace("ssh-ed25519", "ssh-rsa")],
    ["two lines", `${KEY}\n${KEY}`],
    ["options before the key", `command="id" ${KEY}`],
    ["a private key", "-----BEGIN OPENSSH PRIVATE KEY-----"],
    ["a blob cut short", "ssh-ed25519 AAAA"],
    ["a comment with a control character", `${KEY} a\u0007`],
  ])("refuses %s", (_what, line) => {
    expect(sshKeySchema.safeParse(line).error?.issues[0]?.message).toMatch(/one public key as in id_ed25519.pub/);
  });
});

describe("S2: user-data is bounded text", () => {
  it("takes text up to its bound in bytes, and refuses one byte more", () => {
    const most = "é".repeat(USER_DATA_BYTES_MAX / 2);
    expect(userDataSchema.safeParse(most).success).toBe(true);
    expect(userDataSchema.safeParse(`${most}a`).error?.issues[0]?.message).toMatch(/at most 16384 bytes/);
  });

  it.each(["a\r\nb", "a\u0000b", "a\u001bb", "a\uffffb", "a\ud800b"])(
    "refuses %j, which XML would change or cannot say",
    (text) => {
      expect(userDataSchema.safeParse(text).success).toBe(false);
    },
  );

  it("takes tabs, line feeds and anything printable", () => {
    expect(userDataSchema.safeParse("#cloud-config\n\truncmd: [echo «ü» 🐄]\n").success).toBe(true);
  });
});
