import {
  type ImageView,
  imageActionSchema,
  imageAddSchema,
  imageReferenceSchema,
  imageTagBodySchema,
  imageViewSchema,
  pageOf,
  refusal,
} from "@muster/protocol";
import { z } from "zod";
import type { Actor } from "../core/event.ts";
import type { ImageChange } from "../images/image-event.ts";
import { ANSWER_WITHIN_MS, type Backend } from "./backend.ts";
import { unknown } from "./permission.ts";
import { page, pageQuery, type Reply, type Route, refuse, route, value } from "./route.ts";

/** By digest, or by the tag that it has now. */
const imageParams = z.strictObject({ image: imageReferenceSchema });

export const NO_IMAGE_STORE = refusal(
  "policy-violation",
  "no-image-store",
  "this site keeps no images of its own: set imageStore.folder in its configuration",
);

/** Images of the site. Users see and add those of their projects; what others add an admin approves. */
export function imageRoutes(backend: Backend): Route[] {
  return [
    addRoute(backend),
    listRoute(backend),
    showRoute(backend),
    tagRoute(backend),
    actionRoute(backend),
    removeRoute(backend),
  ];
}

function addRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/images",
    id: "addImage",
    summary:
      "Adds an image by its digest; the same again is the same image. With a URL the site fetches it once it is approved, " +
      "without one its content is sent next. What an admin adds is approved.",
    body: imageAddSchema,
    status: 201,
    answer: imageViewSchema,
    async handle({ actor, body }) {
      if (backend.images === undefined) return refuse(NO_IMAGE_STORE);
      return backend.loop.ask(
        (ticket) => ({ kind: "image-add", ticket, actor, add: body }),
        ANSWER_WITHIN_MS,
        (answer, views): Reply => {
          if (answer.kind === "refused") return refuse(answer.refusal);
          const view = views.image(actor, body.digest);
          if (view === undefined) throw new Error("an image that was added is not there");
          return value(withProgress(backend, view), {
            status: 201,
            headers: { location: `/v1/images/${body.digest}` },
          });
        },
      );
    },
  });
}

function listRoute(backend: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/images",
    id: "listImages",
    summary: "Images by digest, as far as the caller may use or manage them.",
    query: pageQuery,
    answer: pageOf(imageViewSchema),
    handle: ({ actor, query }) =>
      backend.loop.read((views) => {
        const shown = page(views.images(actor), ({ digest }) => digest, query);
        return value({ ...shown, items: shown.items.map((image) => withProgress(backend, image)) });
      }),
  });
}

function showRoute(backend: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/images/{image}",
    id: "showImage",
    summary: "One image, with the hosts that have it and how far it has come in.",
    params: imageParams,
    answer: imageViewSchema,
    handle: ({ actor, params }) =>
      backend.loop.read((views) => {
        const image = views.image(actor, params.image);
        return image === undefined ? refuse(unknown("image", params.image)) : value(withProgress(backend, image));
      }),
  });
}

function tagRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/images/{image}/tags",
    id: "tagImage",
    summary: "Gives a tag to an image, whichever had it before. Requests that were accepted keep the image they got.",
    params: imageParams,
    body: imageTagBodySchema,
    answer: imageViewSchema,
    handle: ({ actor, params, body }) => changeImage(backend, actor, params.image, { kind: "tag", tag: body.tag }),
  });
}

function actionRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/images/{image}/{action}",
    id: "actOnImage",
    summary: "Approves an image, or withdraws it: no new VM gets it, those that have it go on.",
    params: imageParams.extend({ action: imageActionSchema }),
    answer: imageViewSchema,
    handle: ({ actor, params }) => changeImage(backend, actor, params.image, { kind: params.action }),
  });
}

function removeRoute(backend: Backend): Route {
  return route({
    method: "DELETE",
    path: "/v1/images/{image}",
    id: "removeImage",
    summary: "Removes an image and its content; refused while VMs use it.",
    params: imageParams,
    answer: z.object({ digest: z.string() }),
    handle: ({ actor, params }) => changeImage(backend, actor, params.image, { kind: "remove" }),
  });
}

async function changeImage(backend: Backend, actor: Actor, image: string, change: ImageChange): Promise<Reply> {
  return backend.loop.ask(
    (ticket) => ({ kind: "image-change", ticket, actor, image, change }),
    ANSWER_WITHIN_MS,
    (answer, views): Reply => {
      if (answer.kind === "refused") return refuse(answer.refusal);
      if (answer.kind !== "image") throw new Error(`an image was answered with ${answer.kind}`);
      const view = views.image(actor, answer.digest);
      return value(view === undefined ? { digest: answer.digest } : withProgress(backend, view));
    },
  );
}

function withProgress({ images }: Backend, image: ImageView): ImageView {
  const progress = images?.keeper.progressOf(image.digest);
  return progress === undefined ? image : { ...image, progress };
}
