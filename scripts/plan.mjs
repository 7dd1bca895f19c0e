// Set-up's decisions, pure: from facts about this machine to what must be installed, or why it cannot be.

/** The oldest Node that runs TypeScript files without a flag, as [major, minor]. */
const OLDEST_NODE = [22, 18];

/** Processors for which an npm package brings Node along. */
const BUNDLED_PROCESSORS = ["x64", "arm64"];

/**
 * What Muster needs from the operating system, by Debian 12 package name. `files` are looked for on
 * machines without dpkg (any one of them is enough); `service` is what the package would start by itself, one or several;
 * `only: "tests"` is not installed where no tests are run.
 */
export const DEBIAN_PACKAGES = [
  {
    name: "prosody",
    why: "the XMPP server of each site",
    files: ["/usr/bin/prosody", "/usr/local/bin/prosody"],
    service: "prosody",
  },
  { name: "lua-unbound", why: "lets Prosody look up other sites without blocking", files: [] },
  {
    name: "libvirt-daemon",
    why: "libvirtd, behind every host",
    files: ["/usr/sbin/libvirtd", "/usr/bin/libvirtd", "/usr/local/sbin/libvirtd"],
  },
  {
    name: "libvirt-clients",
    why: "virsh, for the doctor and the benchmarks",
    files: ["/usr/bin/virsh", "/usr/local/bin/virsh"],
  },
  {
    name: "openssl",
    why: "makes the private certificates of the sites",
    files: ["/usr/bin/openssl", "/usr/local/bin/openssl"],
  },
  {
    name: "ca-certificates",
    why: "checks the certificates of public servers",
    files: ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt"],
  },
  {
    name: "etcd-server",
    why: "keeps the state of sites whose managers run on several machines",
    files: ["/usr/bin/etcd", "/usr/local/bin/etcd"],
    service: "etcd",
  },
  {
    name: "spin",
    why: "checks the model of attempts and terms",
    files: ["/usr/bin/spin", "/usr/local/bin/spin"],
    only: "tests",
  },
  {
    name: "tcc",
    why: "compiles what spin makes of the model",
    files: ["/usr/bin/tcc", "/usr/local/bin/tcc"],
    only: "tests",
  },
  { name: "libc6-dev", why: "what tcc compiles against", files: ["/usr/include/stdio.h"], only: "tests" },
];

/**
 * What real guests need besides (`muster up --hypervisor qemu`, and their test), and sites on ejabberd (`--server ejabberd`):
 * installed where that can be done, and done without where not, as everything else works all the same.
 */
export const GUEST_PACKAGES = [
  { name: "qemu-system-x86", why: "runs real guests", files: ["/usr/bin/qemu-system-x86_64"] },
  { name: "qemu-utils", why: "clones disk images", files: ["/usr/bin/qemu-img"] },
  { name: "libvirt-daemon-driver-qemu", why: "lets libvirtd drive QEMU", files: [] },
  { name: "dnsmasq-base", why: "hands addresses to guests behind NAT", files: ["/usr/sbin/dnsmasq"] },
  { name: "iptables", why: "lets libvirtd make networks behind NAT", files: ["/usr/sbin/iptables"] },
  {
    name: "iproute2",
    why: "makes bridges, tunnels and namespaces",
    files: ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"],
  },
  { name: "genisoimage", why: "writes the seeds of guests", files: ["/usr/bin/genisoimage"] },
  { name: "openssh-client", why: "logs in to guests", files: ["/usr/bin/ssh"] },
  { name: "busybox-static", why: "the programs in the small guest image", files: ["/bin/busybox", "/usr/bin/busybox"] },
  { name: "dropbear-bin", why: "the ssh server in the small guest image", files: ["/usr/sbin/dropbear"] },
  { name: "syslinux", why: "boots the small guest image", files: ["/usr/bin/syslinux"] },
  { name: "syslinux-common", why: "boots the small guest image", files: ["/usr/lib/syslinux/mbr/mbr.bin"] },
  { name: "cpio", why: "packs the small guest image", files: ["/usr/bin/cpio", "/bin/cpio"] },
  { name: "mtools", why: "fills the small guest image", files: ["/usr/bin/mcopy"] },
  { name: "dosfstools", why: "formats the small guest image", files: ["/usr/sbin/mkfs.vfat", "/sbin/mkfs.vfat"] },
  { name: "e2fsprogs", why: "formats the small guest image", files: ["/usr/sbin/mke2fs", "/sbin/mke2fs"] },
  { name: "fdisk", why: "partitions the small guest image", files: ["/usr/sbin/sfdisk", "/sbin/sfdisk"] },
  {
    name: "openvswitch-switch",
    why: "gives guests VLANs where the kernel's bridges filter none",
    files: ["/usr/bin/ovs-vsctl", "/usr/local/bin/ovs-vsctl"],
    service: ["openvswitch-switch", "ovs-vswitchd", "ovsdb-server"],
  },
  { name: "wireguard-tools", why: "sets up tunnels to other sites", files: ["/usr/bin/wg"] },
  { name: "wireguard-go", why: "carries them where the kernel has no WireGuard", files: ["/usr/bin/wireguard-go"] },
  { name: "nftables", why: "filters what comes out of them", files: ["/usr/sbin/nft", "/sbin/nft"] },
  {
    name: "ejabberd",
    why: "the other XMPP server that a site can have",
    files: ["/usr/sbin/ejabberdctl", "/usr/local/sbin/ejabberdctl"],
    // Erlang's port mapper comes along; no server of ours asks it.
    service: ["ejabberd", "epmd"],
  },
];

/** Whether a Node of this version ("24.21.0") runs TypeScript files as they are. */
export function runsTypeScript(version) {
  const [major, minor] = version.split(".").map(Number);
  if (major === 23) return minor >= 6;
  return major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
}

/** Names of the packages that `dpkg-query -W -f '${Package} ${db:Status-Status}\n'` reports as installed. */
export function parseDpkg(output) {
  const rows = output.split("\n").map((line) => line.trim().split(/\s+/));
  return rows.filter(([, status]) => status === "installed").map(([name]) => name);
}

/**
 * Why `npm ci` has to run, or null. Compares the lockfile with npm's own record of what it put into
 * node_modules, which npm writes last: a torn installation has none. `lock` and `installed` are the texts
 * of the two files (`installed` null when there is none). Optional packages may be absent.
 */
export function npmReason(lock, installed) {
  if (installed === null) return "node_modules is missing or incomplete";
  const wanted = JSON.parse(lock).packages;
  const present = parsedPackages(installed);
  if (present === null) return "npm's record of what it installed is unreadable";
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = present[path];
    const name = path.replace(/^.*node_modules\//, "");
    if (found === undefined) {
      if (entry.optional === true) continue;
      return `${name} is missing`;
    }
    if (found.version !== entry.version || found.integrity !== entry.integrity) {
      return `${name} is not at the version of package-lock.json`;
    }
  }
  return null;
}

function parsedPackages(text) {
  try {
    const packages = JSON.parse(text).packages;
    return typeof packages === "object" && packages !== null ? packages : null;
  } catch {
    return null;
  }
}

/**
 * From facts to a plan. Facts: `nodeVersion`, `platform`, `processor`, `bundledNode` (Node's npm package
 * is in place), `npmReason`, `hasNpm`, `missing` (Debian package names), `isRoot`, `hasApt`, `guestsPutOff` (the
 * packages for real guests could not be installed lately).
 * The plan is `{ npm: reason | null, debian: packages, guests: packages, refusal: text | null }`; with a refusal
 * nothing is done.
 */
export function decide(facts) {
  const debian = DEBIAN_PACKAGES.filter((entry) => facts.missing.includes(entry.name));
  const canInstall = facts.isRoot && facts.hasApt;
  const wanted = canInstall && !facts.guestsPutOff ? GUEST_PACKAGES : [];
  const guests = wanted.filter((entry) => facts.missing.includes(entry.name));
  const nodeIsOld = !runsTypeScript(facts.nodeVersion);
  const canBundle = facts.platform === "linux" && BUNDLED_PROCESSORS.includes(facts.processor);
  const needsBundle = nodeIsOld && canBundle && !facts.bundledNode;
  const npm = facts.npmReason ?? (needsBundle ? `Node ${facts.nodeVersion} is too old, Node 24 is added` : null);

  const lacks = [];
  if (debian.length > 0 && !canInstall) {
    lacks.push(...debian.map((entry) => ({ name: entry.name, why: entry.why, apt: true })));
  }
  if (npm !== null && !facts.hasNpm) lacks.push({ name: "npm", why: "installs the npm packages", apt: false });
  if (nodeIsOld && !canBundle) {
    const why = `this is ${facts.nodeVersion}, and no npm package brings a newer one for this machine`;
    lacks.push({ name: `Node.js ${OLDEST_NODE.join(".")} or newer`, why, apt: false });
  }
  return { npm, debian, guests, refusal: lacks.length === 0 ? null : refusal(lacks, facts) };
}

function refusal(lacks, facts) {
  const width = Math.max(...lacks.map((entry) => entry.name.length));
  const packages = lacks.filter((entry) => entry.apt).map((entry) => entry.name);
  const lines = ["set-up: this machine lacks what Muster needs:"];
  lines.push(...lacks.map((entry) => `  ${entry.name.padEnd(width)}  ${entry.why}`));
  if (packages.length > 0 && facts.hasApt) {
    lines.push(
      "Installing Debian packages takes root. As root, run",
      `  apt-get update && apt-get install --no-install-recommends ${packages.join(" ")}`,
      "and then the same command again.",
    );
  } else if (packages.length > 0) {
    lines.push(
      "There is no apt-get here. The names above are those of Debian 12: install the same things with this",
      "system's own package manager, then run the same command again.",
    );
  } else {
    lines.push("Install it, then run the same command again.");
  }
  lines.push("Nothing was changed.");
  return lines.join("\n");
}
