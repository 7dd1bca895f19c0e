# One image for every part of a federation: cluster manager, host manager, XMPP server, libvirtd, command line.
FROM node:24-bookworm-slim

# What set-up installs on a machine (scripts/plan.mjs), but etcd, which is a container of its own where it is used.
# The packages' own services do not start in an image.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends \
    ca-certificates libvirt-clients libvirt-daemon lua-unbound openssl prosody \
  && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/muster

# First what the installation depends on, so that a change of code does not repeat it.
COPY package.json package-lock.json .npmrc ./
COPY packages/base/package.json packages/base/
COPY packages/broker/package.json packages/broker/
COPY packages/cli/package.json packages/cli/
COPY packages/client/package.json packages/client/
COPY packages/cluster-manager/package.json packages/cluster-manager/
COPY packages/disk-image/package.json packages/disk-image/
COPY packages/federation/package.json packages/federation/
COPY packages/host-manager/package.json packages/host-manager/
COPY packages/node-libvirt/package.json packages/node-libvirt/
COPY packages/protocol/package.json packages/protocol/
COPY packages/xmpp/package.json packages/xmpp/
COPY packages/xmpp-server/package.json packages/xmpp-server/
# Without the packages that bring Node along (optional) and the tools of development: the image has its own Node.
RUN npm ci --ignore-scripts --omit=dev --omit=optional --no-audit --no-fund && npm cache clean --force

COPY LICENSE muster ./
COPY deploy deploy
COPY packages packages
RUN ln -s /opt/muster/muster /usr/local/bin/muster

# A volume takes owner and mode from the folder that it is first mounted on, so each has one here.
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/muster --shell /usr/sbin/nologin muster \
  && for site in alpha beta; do \
    for part in xmpp cluster-manager host-1 host-2 host-3; do \
      install -d -m 0700 -o muster -g muster "/var/lib/muster/$site/$part"; \
    done; \
  done \
  && install -d -m 0700 -o muster -g muster /var/lib/muster/authority /var/lib/muster/operator

USER muster
ENV NODE_ENV=production \
  HOME=/var/lib/muster \
  XDG_RUNTIME_DIR=/tmp/muster \
  XDG_CACHE_HOME=/tmp/muster \
  XDG_CONFIG_HOME=/tmp/muster \
  XDG_DATA_HOME=/tmp/muster
ENTRYPOINT ["node", "--conditions=muster-source"]
CMD ["packages/cli/src/main.ts", "--help"]
