/** How the connection is: since when there is none, and why. */
const clock = (milliseconds) => new Date(milliseconds).toLocaleTimeString();

function describe({ state, cause, since }, model) {
  if (state === "open") return `connected${model ? `, ${model}` : ""}`;
  if (state === "closed") return `disconnected: ${cause.message}`;
  return cause ? `offline since ${clock(since)}: ${cause.message}` : "connecting …";
}

export function Connection({ connection, model, reconnect }) {
  const { state, cause } = connection;
  return (
    <>
      <p role="status" data-state={state}>{describe(connection, model)}</p>
      {cause && state !== "closed" && <button onClick={reconnect}>Try now</button>}
    </>
  );
}
