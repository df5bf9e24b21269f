// Short notices about what has just happened, which go by themselves. What needs an answer belongs in a dialog.

const SHOWN_MS = 5000;

interface Toast {
  id: number;
  text: string;
  kind: "good" | "bad";
}

class Toasts {
  list = $state<Toast[]>([]);
  private last = 0;

  show(text: string, kind: Toast["kind"] = "good"): void {
    const id = ++this.last;
    this.list.push({ id, text, kind });
    setTimeout(() => (this.list = this.list.filter((each) => each.id !== id)), SHOWN_MS);
  }
}

export const toasts = new Toasts();
