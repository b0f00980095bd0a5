// What every page and part is written with: HTML in JavaScript, in which every value is text and never markup.
import { h } from "preact";
import htm from "htm";

export { render } from "preact";
export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

export const html = htm.bind(h);
