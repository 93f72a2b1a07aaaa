/** A field for a question, and what is beside it. Enter submits, Shift+Enter breaks the line. */

/** Whether a key belongs to an input method, as for Korean: Safari says it of the Enter that ends a word by 229 only. */
const isComposing = ({ nativeEvent: { isComposing, keyCode } }) => isComposing || keyCode === 229;

/** What is typed is never cut: what is too long is counted, in code points as the server does, and not sent. */
export function QuestionForm({ label, value, onChange, onSubmit, onEscape, limit = Infinity, autoFocus, children }) {
  const length = [...value].length;
  const submit = (event) => {
    event.preventDefault();
    if (value.trim() && length <= limit) onSubmit(value.trim());
  };
  const onKeyDown = (event) => {
    if (isComposing(event)) return;
    if (event.key === "Enter" && !event.shiftKey) submit(event);
    if (event.key === "Escape") onEscape?.();
  };
  return (
    <form onSubmit={submit}>
      <textarea
        aria-label={label}
        placeholder={label}
        dir="auto"
        rows={Math.min(8, value.split("\n").length)}
        value={value}
        onChange={({ target }) => onChange(target.value)}
        onKeyDown={onKeyDown}
        autoFocus={autoFocus}
      />
      {children}
      {length > limit && <p role="alert">{length} characters; at most {limit} can be asked.</p>}
    </form>
  );
}
