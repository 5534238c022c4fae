import { defineConfig } from "vite";

export default defineConfig({
  // The proxy serves every asset below this path and only the page itself at `/`.
  base: "/ui/",
  build: {
    target: "es2022",
    // A `data:` URL instead of a small file would need a hole in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
});
