// The page that stands alone.

import { mount } from "./atlas";
import { Payload, fromBase64, type Header } from "./payload";

const text = (id: string) => document.getElementById(id)!.textContent!;

void mount(document.getElementById("atlas")!, new Payload(JSON.parse(text("data")) as Header, fromBase64(text("pieces"))));
