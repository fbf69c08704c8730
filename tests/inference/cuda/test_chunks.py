from __future__ import annotations

from inference.cuda.chunks import Chunk, Span, chunks_of
from inference.executor import Piece


def piece(start: int, count: int, prompt: int) -> Piece:
    return Piece([0] * count, start, [], None, 0, prompt)


def test_prompts_come_before_outputs_and_chunks_are_filled() -> None:
    pieces = [piece(50, 1, 20), piece(0, 30, 25), piece(8, 10, 40)]
    assert chunks_of(pieces, 16, 4) == [
        Chunk(True, (Span(1, 0, 16),)),
        Chunk(True, (Span(1, 16, 9), Span(2, 0, 7))),
        Chunk(True, (Span(2, 7, 3),)),
        Chunk(False, (Span(0, 0, 1), Span(1, 25, 3))),
        Chunk(False, (Span(1, 28, 2),)),
    ]


def test_a_full_chunk_is_followed_by_no_empty_one() -> None:
    assert chunks_of([piece(0, 8, 8)], 4, 4) == [
        Chunk(True, (Span(0, 0, 4),)),
        Chunk(True, (Span(0, 4, 4),)),
    ]
    assert chunks_of([], 4, 4) == []


def test_every_row_of_every_piece_is_in_exactly_one_chunk() -> None:
    pieces = [piece(start, count, 30) for start in (0, 7, 29, 30, 55) for count in (1, 5, 64)]
    seen = set()
    for chunk in chunks_of(pieces, 48, 8):
        assert chunk.rows <= (48 if chunk.prompt else 8)
        for span in chunk.spans:
            for row in range(span.first, span.first + span.count):
                assert (pieces[span.piece].start + row < 30) == chunk.prompt
                assert (span.piece, row) not in seen
                seen.add((span.piece, row))
    assert len(seen) == sum(len(one.tokens) for one in pieces)
