"""Ports that two checkouts do not take from each other."""

import socket

from deploy.ports import free_port, reserved_port


def test_the_wanted_port_is_given_when_it_is_free() -> None:
    wanted = free_port()

    with reserved_port(wanted) as port:
        assert port == wanted
    with reserved_port(wanted) as again:
        assert again == wanted


def test_a_port_in_use_is_not_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]

        with reserved_port(taken) as port:
            assert port != taken


def test_a_port_that_is_reserved_and_not_yet_bound_is_not_given_twice() -> None:
    with reserved_port() as first, reserved_port(first) as second:
        assert first != second


def test_the_holder_of_a_reservation_can_listen_there() -> None:
    with reserved_port() as port, socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port
