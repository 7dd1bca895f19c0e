import { describe, expect, it } from "vitest";
import { scramMechanism } from "./scram.ts";

async function login(
  name: "SCRAM-SHA-1" | "SCRAM-SHA-256",
  nonce: string,
  challenge: string,
): Promise<readonly string[]> {
  const mechanism = new (scramMechanism(name, () => nonce))();
  const credentials = { username: "user", password: "pencil" };
  const first = await mechanism.response(credentials);
  mechanism.challenge(challenge);
  return [first, await mechanism.response(credentials)];
}

describe("SCRAM", () => {
  it("answers as the example of RFC 5802 section 5 does", async () => {
    const nonce = "fyko+d2lbbFgONRv9qkxdawL";
    const challenge = `r=${nonce}3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096`;
    expect(await login("SCRAM-SHA-1", nonce, challenge)).toEqual([
      `n,,n=user,r=${nonce}`,
      `c=biws,r=${nonce}3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=`,
    ]);
  });

  it("answers as the example of RFC 7677 section 3 does", async () => {
    const nonce = "rOprNGfwEbeRWgbNEkqO";
    const joined = `${nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0`;
    const [, last] = await login("SCRAM-SHA-256", nonce, `r=${joined},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`);
    expect(last).toBe(`c=biws,r=${joined},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`);
  });

  it("escapes what would end a name", async () => {
    const mechanism = new (scramMechanism("SCRAM-SHA-1", () => "n"))();
    expect(await mechanism.response({ username: "a=b,c", password: "" })).toBe("n,,n=a=3Db=2Cc,r=n");
  });

  it.each([
    ["another nonce", "r=evil,s=QSXCR+Q6sek8bf92,i=4096", /nonce/],
    ["our nonce unchanged", "r=mine,s=QSXCR+Q6sek8bf92,i=4096", /nonce/],
    ["too few iterations", "r=mine1,s=QSXCR+Q6sek8bf92,i=1", /iterations/],
    ["iterations without end", "r=mine1,s=QSXCR+Q6sek8bf92,i=99999999", /iterations/],
    ["no salt", "r=mine1,i=4096", /salt/],
    ["an extension", "m=x,r=mine1,s=QSXCR+Q6sek8bf92,i=4096", /extension/],
    ["nothing", "", /nonce/],
  ])("refuses a challenge with %s", async (_what, challenge, message) => {
    await expect(login("SCRAM-SHA-1", "mine", challenge)).rejects.toThrow(message);
  });
});
