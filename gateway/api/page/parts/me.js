// Who is signed in, and what that role may: what it may not is left out of the page, and refused by the API.

import { get, path } from "./api.js";

const DOES_FOR = { viewer: ["viewer"], operator: ["viewer", "operator"], admin: ["viewer", "operator", "admin"] };

// Of nobody, and of who may do nothing here, the first view says why.
export const me = await get(path("me")).catch(() => ({ name: "", role: "", expires: null }));

export const may = (role) => (DOES_FOR[me.role] ?? []).includes(role);
