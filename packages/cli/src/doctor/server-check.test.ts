import { describe, expect, it } from "vitest";
import { serverChecks } from "./server-check.ts";

describe("the doctor of a site's XMPP server", () => {
  it("says of ejabberd what a site has to do by hand, and what to install where it is missing", () => {
    const [program, server] = serverChecks("ejabberd", "/nowhere");
    expect(program?.name).toBe("ejabberdctl");
    if (program?.verdict === "fail")
      expect(program.remedy).toContain("apt-get install --no-install-recommends ejabberd");
    expect(server).toMatchObject({ verdict: "ok", message: expect.stringContaining("ejabberdctl register") });
  });

  it("has nothing to add of Prosody", () => {
    expect(serverChecks("prosody", "/nowhere")).toEqual([]);
  });
});
