#include "daemon/load/row_pieces.hpp"

#include <cassert>

namespace sluice {

void RowPieces::start(uint64_t rows, uint64_t named) {
    open_.clear();
    names_trusted_ = true;
    split({0, rows}, named);
}

void RowPieces::stored() {
    names_trusted_ = names_trusted_ && !next_is_named_;
    dropped();
}

void RowPieces::dropped() {
    open_.pop_back();
    next_is_named_ = false;
}

void RowPieces::refused(uint64_t named) {
    const RowRange piece = next();
    assert(piece.count > 1);
    dropped();
    split(piece, named);
}

// What is added last is next.
void RowPieces::split(const RowRange& piece, uint64_t named) {
    const uint64_t end = piece.first + piece.count;
    if (names_trusted_ && named >= piece.first && named < end) {
        add(named + 1, end);
        add(piece.first, named);
        add(named, named + 1);
        next_is_named_ = true;
        return;
    }
    const uint64_t middle = piece.first + piece.count / 2;
    add(middle, end);
    add(piece.first, middle);
    next_is_named_ = false;
}

void RowPieces::add(uint64_t first, uint64_t end) {
    if (first < end) {
        open_.push_back({first, end - first});
    }
}

}  // namespace sluice
