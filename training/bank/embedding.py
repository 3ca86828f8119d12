"""Embeddings of questions, for finding paraphrases of benchmark questions.

Owns loading an embedding model from a folder or the hub (`owner/name@revision`) and the mean over
its last hidden states. Refuses to own what is near (`harness_tasks.decontaminate`). torch and
transformers are imported on loading.

Example: `embed = embedder("models/e5-small"); embed(["What is 1+1?"]).shape` is (1, 384)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands import needs_train

if TYPE_CHECKING:
    import numpy as np

    from harness_tasks.decontaminate import Embed

BATCH_TEXTS = 32
MAX_TOKENS = 512


def embedder(model: str, batch_texts: int = BATCH_TEXTS) -> Embed:
    """Load a model and return what embeds texts as rows of length 1.

    Raises:
        ValueError: no such model, or no encoder. ImportError: the training extra is missing.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as missing:
        raise needs_train(missing) from missing

    name, _, revision = model.partition("@")
    if Path(model).expanduser().is_dir():
        name, revision = str(Path(model).expanduser()), ""
    pinned: dict[str, Any] = {"revision": revision} if revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **pinned)
        encoder = AutoModel.from_pretrained(name, **pinned)
    except (OSError, ValueError, KeyError) as failed:
        said = " ".join(str(failed).split())[:300]
        raise ValueError(f"cannot load the embedding model {model!r} ({said})") from failed
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder.eval().to(device)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    positions = getattr(encoder.config, "max_position_embeddings", None) or MAX_TOKENS
    limit = min(MAX_TOKENS, tokenizer.model_max_length, positions)

    def embed(texts: Sequence[str]) -> np.ndarray[Any, Any]:
        import numpy as np

        # By length, so that a batch holds little padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        parts = []
        with torch.no_grad():
            for start in range(0, len(order), batch_texts):
                # A lone surrogate, which a JSON escape can make, is no text to a tokenizer.
                batch = [
                    texts[place].encode(errors="replace").decode()
                    for place in order[start : start + batch_texts]
                ]
                given = tokenizer(
                    batch, padding=True, truncation=True, max_length=limit, return_tensors="pt"
                ).to(device)
                states = encoder(**given).last_hidden_state  # (texts, tokens, width)
                mask = given["attention_mask"].unsqueeze(-1).to(states.dtype)
                mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
                unit = torch.nn.functional.normalize(mean.float(), dim=1)
                parts.append(unit.cpu().numpy())
        rows = np.concatenate(parts)
        return rows[np.argsort(order)]

    return embed
