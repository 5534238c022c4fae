// The consoles are names below the one that this page was opened with.
for (const place of document.querySelectorAll("a[data-name]")) {
  const port = location.port ? `:${location.port}` : "";
  place.href = `https://${place.dataset.name}.${location.hostname}${port}${place.dataset.path ?? "/"}`;
}
