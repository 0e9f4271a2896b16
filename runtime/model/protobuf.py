"""Read and write protobuf messages, the format of .onnx files, without the package protobuf.

`runtime.model.artifact` stores the spec in an .onnx file with these functions, and
`runtime.backends.feature_maps` adds outputs to a network. `runtime.model.external_data` looks for
references to other files.
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

from runtime.errors import ArtifactError

_MAX_VARINT_BYTES = 10  # 64 bits in groups of 7; a longer number is rejected
_MAX_TAG = 2**32 - 1  # protobuf's own parsers drop further bits, so a field could hide in them


def field(number: int, content: bytes) -> bytes:
    """Return the bytes of a length-delimited field.

    Appended to a message, they add an element to a repeated field, and to a field that is a message
    they add its fields. So a message can be extended without parsing it.

    Args:
        number: the number of the field, from 1.
        content: a string, bytes or the fields of a message.
    """
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Return a number as a protobuf varint: 7 bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def all_fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield (number, value) of the fields of a protobuf message.

    The value of a length-delimited field is its content, and that of a varint its number. Fields of
    the other wire types are skipped.

    Raises:
        ArtifactError: the message is damaged.
    """
    position = 0

    def number() -> int:
        nonlocal position
        value = 0
        for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError

    try:
        while position < len(message):
            tag = number()
            if tag > _MAX_TAG:
                raise IndexError
            match tag & 7:  # the wire type
                case 0:  # a varint
                    yield tag >> 3, number()
                case 1:  # 64 bits
                    position += 8
                case 2:  # length-delimited
                    size = number()
                    if position + size > len(message):
                        raise IndexError
                    yield tag >> 3, message[position : position + size]
                    position += size
                case 5:  # 32 bits
                    position += 4
                case _:
                    raise IndexError
    except IndexError:
        raise ArtifactError("the file is damaged (no protobuf message): export it again") from None


def fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (number, content) of the length-delimited fields of a protobuf message.

    Raises:
        ArtifactError: the message is damaged.
    """
    for number, value in all_fields(message):
        if isinstance(value, memoryview):
            yield number, value
