import { describe, expect, it } from "vitest";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ADMIN, ANN, ScriptedSite, SMALL } from "../core/scripted-site.fixture.ts";
import { addImage, changeImage, digestNumber, giveImage, guestTold } from "./guest-site.fixture.ts";

const ONE = digestNumber("1");
const TWO = digestNumber("2");
const site = (policy = {}) => new ScriptedSite({ policy, hosts: [new ScriptedHost("h1")] });
const spec = (more: object) => ({ ...SMALL, ...more });
const BEN = { user: "ben", role: "user" as const, projects: ["other"] };

describe("the catalogue", () => {
  it("L3: keeps an image across a restart, and asks for its content again where it is missing", () => {
    const one = site();
    addImage(one, { digest: ONE, tags: ["tiny"], url: "http://127.52.0.1/tiny" });
    expect(one.effects).toContainEqual({ kind: "fetch-image", digest: ONE });
    one.effects.length = 0;
    one.restart();
    expect(one.effects).toContainEqual({ kind: "fetch-image", digest: ONE });
    expect(one.core.views.image(ADMIN, "tiny")).toMatchObject({ state: "pending", reason: "it is being fetched" });
  });

  it("B1: takes the same image again as the same, and another wish for it as a conflict", () => {
    const one = site();
    const wish = { digest: ONE, tags: ["tiny"] };
    expect(addImage(one, wish)).toEqual({ kind: "image", digest: ONE });
    expect(addImage(one, wish)).toEqual({ kind: "image", digest: ONE });
    expect(addImage(one, { ...wish, format: "raw" })).toMatchObject({ refusal: { reason: "image-exists" } });
    expect(addImage(one, { digest: TWO, tags: ["tiny"] })).toMatchObject({ refusal: { reason: "tag-taken" } });
    expect(addImage(one, { digest: TWO, tags: ["debian-12"] })).toMatchObject({ refusal: { reason: "tag-taken" } });
  });

  it("lets what a user adds wait for an admin, and fetches nothing before that", () => {
    const one = site({ imageApproval: "admin" });
    const wish = { digest: ONE, tags: ["tiny"], url: "http://127.52.0.1/tiny" };
    expect(addImage(one, wish, ANN)).toMatchObject({ refusal: { reason: "not-your-project" } });
    addImage(one, { ...wish, projects: ["default"] }, ANN);
    expect(one.effects.filter(({ kind }) => kind === "fetch-image")).toEqual([]);
    expect(one.create({ name: "web", spec: spec({ image: "tiny" }) })).toMatchObject({
      refusal: { reason: "image-pending", message: expect.stringContaining("an admin has to approve it") },
    });
    expect(changeImage(one, "tiny", { kind: "approve" }, ANN)).toMatchObject({ refusal: { kind: "forbidden" } });
    changeImage(one, "tiny", { kind: "approve" });
    expect(one.effects).toContainEqual({ kind: "fetch-image", digest: ONE });
  });

  it("needs no admin where the site's policy says so", () => {
    const one = site({ imageApproval: "none" });
    addImage(one, { digest: ONE, projects: ["default"], url: "http://127.52.0.1/tiny" }, ANN);
    expect(one.effects).toContainEqual({ kind: "fetch-image", digest: ONE });
  });

  it("tells those of other projects nothing of an image, and gives it to nobody there", () => {
    const one = site();
    giveImage(one, { digest: ONE, tags: ["tiny"], projects: ["default"] });
    expect(one.core.views.images(BEN)).toEqual([]);
    expect(one.core.views.image(ANN, "tiny")).toMatchObject({ state: "available" });
    expect(changeImage(one, "tiny", { kind: "withdraw" }, BEN)).toMatchObject({ refusal: { reason: "unknown-image" } });
    const asked = one.create({ name: "web", project: "other", spec: spec({ image: "tiny" }) }, "r-ben", BEN);
    expect(asked).toMatchObject({ refusal: { reason: "unknown-image", field: "spec.image" } });
    expect(JSON.stringify(asked)).not.toMatch(/known here.*tiny/);
  });

  it("keeps an image that VMs use, and gives a withdrawn one to no new VM", () => {
    const one = site();
    giveImage(one, { digest: ONE, tags: ["tiny"] });
    one.create({ name: "web", spec: spec({ image: "tiny" }) });
    one.advance(2_000);
    expect(changeImage(one, "tiny", { kind: "remove" })).toMatchObject({ refusal: { reason: "image-in-use" } });
    changeImage(one, "tiny", { kind: "withdraw" });
    expect(one.create({ name: "two", spec: spec({ image: "tiny" }) })).toMatchObject({
      refusal: { reason: "image-withdrawn" },
    });
    expect(one.vm("web").phase).toBe("running");
    one.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    one.advance(2_000);
    expect(changeImage(one, "tiny", { kind: "remove" })).toEqual({ kind: "image", digest: ONE });
    expect(one.effects).toContainEqual({ kind: "drop-image", digest: ONE });
    expect(one.store.has(`image/${ONE}`)).toBe(false);
  });

  it("shows why the content did not come, and tries again when it is added or approved again", () => {
    const one = site();
    const wish = { digest: ONE, tags: ["tiny"], url: "http://127.52.0.1/tiny" };
    addImage(one, wish);
    const content = { kind: "failed", reason: "wrong-digest", message: "it is another file" } as const;
    one.ask({ kind: "image-content", digest: ONE, content });
    expect(one.core.views.image(ADMIN, ONE)?.reason).toBe("it could not be fetched: it is another file");
    one.effects.length = 0;
    one.restart();
    expect(one.effects.filter(({ kind }) => kind === "fetch-image")).toEqual([]);
    addImage(one, wish);
    expect(one.effects).toContainEqual({ kind: "fetch-image", digest: ONE });
  });
});

describe("a VM's image", () => {
  it("is what the tag stood for when the request was accepted, wherever the tag goes then", () => {
    const one = new ScriptedSite();
    giveImage(one, { digest: ONE, tags: ["tiny"] });
    giveImage(one, { digest: TWO });
    one.create({ name: "web", spec: spec({ image: "tiny" }) });
    changeImage(one, TWO, { kind: "tag", tag: "tiny" });
    expect(one.core.views.image(ADMIN, "tiny")?.digest).toBe(TWO);
    one.add(new ScriptedHost("h1"));
    one.advance(5_000);
    const { id, imageDigest } = one.vm("web");
    expect(imageDigest).toBe(ONE);
    expect(guestTold(one, id)?.image).toEqual({
      digest: ONE,
      format: "qcow2",
      bytes: 1_000,
      virtualMiB: 3_072,
      urls: [],
    });
  });

  it.each([
    ["memory below what it needs", { memoryMiB: 64 }, "memory-below-image", "spec.memoryMiB"],
    ["a disk smaller than its own", { diskGiB: 2 }, "disk-below-image", "spec.diskGiB"],
  ])("is refused with %s", (_what, more, reason, field) => {
    const one = site();
    giveImage(one, { digest: ONE, tags: ["tiny"], minMemoryMiB: 96 });
    const wish = { name: "web", spec: spec({ image: "tiny", ...more }) };
    expect(one.create(wish)).toMatchObject({ refusal: { kind: "policy-violation", reason, field } });
    expect(one.core.views.vms()).toEqual([]);
  });

  it("draws it to a host that has the image already", () => {
    const one = new ScriptedSite({ hosts: [new ScriptedHost("h1"), new ScriptedHost("h2")] });
    giveImage(one, { digest: ONE, tags: ["tiny"] });
    for (const host of one.hosts.values()) {
      const images = host.name === "h2" ? [ONE] : [];
      one.step({ kind: "host-capacity", host: host.name, capacity: host.capacity({ images }) });
    }
    one.create({ name: "web", spec: spec({ image: "tiny" }) });
    expect(one.vm("web").place).toEqual({ kind: "host", host: "h2" });
    expect(one.core.views.image(ADMIN, "tiny")).toMatchObject({ hosts: ["h2"], vms: 1 });
  });

  it("is told to hosts with where to fetch it, the site first", () => {
    const one = site();
    giveImage(one, { digest: ONE, tags: ["tiny"], url: "http://127.52.0.1/tiny" });
    one.create({ name: "web", spec: spec({ image: "tiny" }) });
    expect(guestTold(one, one.vm("web").id)?.image.urls).toEqual(["http://127.52.0.1/tiny"]);
  });

  it("takes a tag over from an image that could not be fetched, and from no other", () => {
    const one = site();
    const wish = (digest: string) => ({ digest, tags: ["tiny"], format: "raw" as const, projects: "*" as const });
    const url = "http://127.52.0.1/tiny";
    const added = (digest: string) => one.ask({ kind: "image-add", actor: ADMIN, add: { ...wish(digest), url } });
    expect(added(ONE)).toMatchObject({ kind: "image" });
    expect(added(TWO)).toMatchObject({ refusal: { reason: "tag-taken" } });
    const failed = { kind: "failed", reason: "wrong-digest", message: "it is another one" } as const;
    one.ask({ kind: "image-content", digest: ONE, content: failed });
    expect(added(TWO)).toMatchObject({ kind: "image" });
    expect(one.core.views.image(ADMIN, "tiny")?.digest).toBe(TWO);
    expect(one.core.views.image(ADMIN, ONE)?.tags).toEqual([]);
  });

  it("is but a name where the site's configuration says so, as ever", () => {
    const one = site();
    one.create({ name: "web" });
    expect(guestTold(one, one.vm("web").id)).toBeUndefined();
    expect(one.vm("web")).not.toHaveProperty("imageDigest");
  });
});
