// Imported before a program, has port 8080 of this machine stand for another: there the hosted service's clients look for
// a server in their dev mode, and somebody's may be running. DEV_PORT: the port.
const send = globalThis.fetch;
const there = `//localhost:${process.env.DEV_PORT}/`;
globalThis.fetch = (url, options) => send(String(url).replace("//localhost:8080/", there), options);
